"""The tables of docs/performance.md that compare with peers, rendered from records, with the aims they are held to."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from subbyte.kernels import FORMATS
from tables.published import ik_lead
from tables.records import IK, LLAMA_CPP, OURS, Ratio, Record, Setting, paired

LIMITS = {"prompt": "of the peak", "generation": "of reading"}


@dataclass(frozen=True)
class Better:
    """The faster peer, and our speed over its."""

    name: str
    ratio: Ratio


def against(record: Record, peer: str, what: str) -> Ratio:
    """Our speed over a peer's."""
    return paired(record.rates[OURS][what], record.rates[peer][what])


def share(record: Record, what: str) -> float:
    """Our speed over what the machine's limits allowed in the same rounds."""
    return paired(record.rates[OURS][what], record.limits[what]).median


def better_peer(record: Record, what: str) -> Better:
    """The fastest of those that ran and, where ik_llama.cpp was not tried, llama.cpp times the published lead."""
    ratios = {name: against(record, name, what) for name in record.rates if name != OURS}
    lead = ik_lead(record.setting.isa, record.format or record.model, what)
    if IK not in record.peers and LLAMA_CPP in ratios and lead is not None and lead > 1:
        ratios[f"{LLAMA_CPP} x {lead:.2f}"] = paired(record.rates[OURS][what], record.rates[LLAMA_CPP][what], lead)
    name = min(ratios, key=lambda peer: ratios[peer].median)
    return Better(name, ratios[name])


def aim(record: Record, what: str) -> float | None:
    """The ratio to the better peer that is aimed at; None where there is no aim."""
    avx2 = record.setting.isa == "avx2"
    if record.format is None:
        return 1.1
    if what == "prompt":
        return 1.25 if avx2 or FORMATS[record.format].group else 1.1
    if record.format.startswith(("IQ1", "IQ2", "IQ3")):
        return 1.5
    if FORMATS[record.format].bits_per_weight < 4:
        return None
    return 1.05 if avx2 else 0.97


def peak_aim(record: Record) -> float | None:
    """The share of the machine's multiply-adds that is aimed at in prompts; None where there is no aim.

    AVX2 adds two products in 16 bits, for which codes of 8 bits leave no room.
    """
    if record.format is None:
        return None
    if record.setting.isa != "avx2":
        return 0.6
    if not FORMATS[record.format].group:
        return 0.85
    return 0.4 if FORMATS[record.format].max_code > 127 else 0.55


def verdict(record: Record, what: str) -> str:
    """Whether the aims are met, or which are missed."""
    ratio, peak, missed = aim(record, what), peak_aim(record), []
    if ratio is not None and better_peer(record, what).ratio.median < ratio:
        missed.append(f"{ratio} x")
    if what == "prompt" and peak is not None and share(record, what) < peak:
        missed.append(f"{peak:.0%}")
    if missed:
        return "missed: " + ", ".join(missed)
    return "none" if ratio is None else "met"


def summary(record: Record) -> str:
    """One line for the terminal."""
    parts = []
    for what, limit in LIMITS.items():
        ratios = "".join(f", {against(record, peer, what)} x {peer}" for peer in record.rates if peer != OURS)
        better = better_peer(record, what)
        parts.append(
            f"{what} {median(record.rates[OURS][what]):.1f} tokens/s, {share(record, what):.0%} {limit}{ratios}, "
            f"{better.ratio.median:.2f} x the better peer ({better.name}), aim {verdict(record, what)}"
        )
    return f"{record.model}: {'; '.join(parts)}"


def line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def head(columns: list[str]) -> str:
    """The headings and the line below them."""
    return f"{line(columns)}\n|{'---|' * len(columns)}"


def row(record: Record, what: str, peers: list[str]) -> str:
    cells = [record.format or record.model, f"{record.mib:.0f}", f"{median(record.rates[OURS][what]):.1f}"]
    cells.append(f"{share(record, what):.0%}")
    for peer in peers:
        if peer in record.rates:
            cells += [f"{median(record.rates[peer][what]):.1f}", str(against(record, peer, what))]
        else:
            cells += ["failed" if peer in record.failed else "", ""]
    better = better_peer(record, what)
    return line([*cells, better.name, f"{better.ratio.median:.2f}", verdict(record, what)])


def table(records: list[Record], what: str) -> str:
    peers = sorted({name for record in records for name in record.peers}, key=lambda name: (name != LLAMA_CPP, name))
    columns = ["type or model", "MiB", OURS, LIMITS[what], *(cell for peer in peers for cell in (peer, "ratio"))]
    columns += ["better peer", "ratio", "aim"]
    return "\n".join([head(columns), *(row(record, what, peers) for record in records)])


def span(values: Iterable[str]) -> str:
    found = sorted(set(values))
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def section(setting: Setting, records: list[Record]) -> str:
    """The commands, what ran, and two tables."""
    versions = sorted({version for record in records for version in record.versions.values()})
    rounds = span(str(len(record.rates[OURS]["prompt"])) for record in records)
    return "\n\n".join([
        "\n".join(f"    {command}" for command in dict.fromkeys(record.command for record in records)),
        f"{setting.machine}, {setting.threads} threads, instruction set {setting.isa}; {', '.join(versions)}; "
        f"{rounds} rounds; {span(record.date for record in records)}.",
        f"Prompt, {setting.prompt} tokens, tokens/s:", table(records, "prompt"),
        f"Generation, {setting.generation} tokens, tokens/s:", table(records, "generation"),
    ])  # fmt: skip


def render(records: list[Record]) -> dict[str, str]:
    """Markdown for every machine and instruction set, by the name that its markers have in a document.

    It is two tables for each setting, block types in the order of formats.def, then models by name.
    """
    order = list(FORMATS)
    records = sorted(records, key=lambda r: (r.format is None, order.index(r.format) if r.format else 0, r.model))
    sections: dict[str, list[str]] = {}
    for setting in dict.fromkeys(record.setting for record in records):
        text = section(setting, [record for record in records if record.setting == setting])
        sections.setdefault(f"peers: {setting.machine}, {setting.isa}", []).append(text)
    return {name: "\n\n".join(texts) for name, texts in sections.items()}
