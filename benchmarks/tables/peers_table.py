"""The tables of docs/performance.md that compare with peers, rendered from records, with the aims they are held to."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from subbyte.kernels import FORMATS
from tables.published import IK, ik_ratio
from tables.records import Ratio, Record, Setting, paired

OURS, PEER = "subbyte", "llama.cpp"
PEAK_AIM = 0.6  # of the multiply-adds that the machine can do
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
    """The fastest of those measured and, unless ik_llama.cpp is, of llama.cpp times ik_llama.cpp's published lead."""
    peers = {name: against(record, name, what) for name in record.rates if name != OURS}
    lead = ik_ratio(record.format or record.model, what)
    if IK not in peers and lead is not None and lead > 1:
        peers[f"{PEER} x {lead:.2f}"] = paired(record.rates[OURS][what], record.rates[PEER][what], lead)
    name = min(peers, key=lambda peer: peers[peer].median)
    return Better(name, peers[name])


def aim(record: Record, what: str) -> float | None:
    """The ratio to the better peer that is aimed at; None where there is no aim."""
    if record.format is None:
        return 1.1
    if what == "prompt":
        return 1.25 if FORMATS[record.format].group else 1.1
    if record.format.startswith(("IQ1", "IQ2", "IQ3")):
        return 1.5
    return 0.97 if FORMATS[record.format].bits_per_weight >= 4 else None


def verdict(record: Record, what: str) -> str:
    """Whether the aims are met, or which are missed."""
    wanted, missed = aim(record, what), []
    if wanted is not None and better_peer(record, what).ratio.median < wanted:
        missed.append(f"{wanted} x")
    if what == "prompt" and record.format and share(record, what) < PEAK_AIM:
        missed.append(f"{PEAK_AIM:.0%}")
    if missed:
        return "missed: " + ", ".join(missed)
    return "none" if wanted is None else "met"


def summary(record: Record) -> str:
    """One line for the terminal."""
    parts = [
        f"{what} {median(record.rates[OURS][what]):.1f} tokens/s, {share(record, what):.0%} {limit}, "
        f"{against(record, PEER, what)} x {PEER}, {better_peer(record, what).ratio.median:.2f} x the better peer, "
        f"aim {verdict(record, what)}"
        for what, limit in LIMITS.items()
    ]
    return f"{record.model}: {'; '.join(parts)}"


def line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def row(record: Record, what: str, peers: list[str]) -> str:
    cells = [record.format or record.model, f"{record.mib:.0f}", f"{median(record.rates[OURS][what]):.1f}"]
    cells.append(f"{share(record, what):.0%}")
    for peer in peers:
        measured = peer in record.rates
        cells.append(f"{median(record.rates[peer][what]):.1f}" if measured else "")
        cells.append(str(against(record, peer, what)) if measured else "")
    better = better_peer(record, what)
    return line([*cells, better.name, f"{better.ratio.median:.2f}", verdict(record, what)])


def table(records: list[Record], what: str) -> str:
    others = {name for record in records for name in record.rates} - {OURS, PEER}
    peers = [PEER, *sorted(others)]
    head = ["type or model", "MiB", OURS, LIMITS[what]]
    for peer in peers:
        head += [peer, "ratio"]
    head += ["better peer", "ratio", "aim"]
    return "\n".join([line(head), "|" + "---|" * len(head), *(row(record, what, peers) for record in records)])


def span(values: Iterable[str]) -> str:
    found = sorted(set(values))
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def section(setting: Setting, records: list[Record]) -> str:
    versions = sorted({version for record in records for version in record.versions.values()})
    rounds = span(str(len(record.rates[OURS]["prompt"])) for record in records)
    return "\n\n".join([
        f"{setting.machine}, {setting.threads} threads, instruction set {setting.isa}; {', '.join(versions)}; "
        f"{rounds} rounds; {span(record.date for record in records)}.",
        f"Prompt, {setting.prompt} tokens, tokens/s:", table(records, "prompt"),
        f"Generation, {setting.generation} tokens, tokens/s:", table(records, "generation"),
    ])  # fmt: skip


def render(records: list[Record]) -> str:
    """Markdown: two tables for each setting, block types in the order of formats.def, then models by name."""
    order = list(FORMATS)
    records = sorted(records, key=lambda r: (r.format is None, order.index(r.format) if r.format else 0, r.model))
    settings = dict.fromkeys(record.setting for record in records)
    return "\n\n".join(section(s, [r for r in records if r.setting == s]) for s in settings)
