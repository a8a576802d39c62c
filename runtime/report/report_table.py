"""A report as the table of a model card, and below it all that another needs to get the same."""

from __future__ import annotations

from collections.abc import Sequence

from subbyte.runtime.evaluation.tables import Table, markdown, short_names
from subbyte.runtime.report.measure import Speed
from subbyte.runtime.report.report import Report, ReportRow

COLUMNS = ("file", "types", "MB", "bits/weight", "PPL", "bits/byte", "Δ ln PPL", "verdict")
KLD = "KLD from base"


def report_table(report: Report) -> Table:
    """A row for each file, the base last."""
    first = report.rows[0]
    speeds = (f"{first.prompt.test}, tokens/s", f"{first.generation.test}, tokens/s")
    with_base = report.base is not None
    names = short_names([row.model for row in report.rows])
    columns = (*COLUMNS, *([KLD] if with_base else []), *speeds)
    rows = [_cells(report, i, names, with_base) for i in range(len(names))]
    return Table("", columns, rows)


def report_markdown(report: Report, command: str) -> str:
    """The table, what its columns mean, the conditions and the digests."""
    names = short_names([row.model for row in report.rows])
    parts = [markdown([report_table(report)]), *_notes(report, names), f"    {command}"]
    digests = [f"{name} {sha256}" for row in report.rows for name, sha256 in row.sha256.items()]
    return "\n\n".join([*parts, "sha256:\n\n" + "\n".join(f"    {line}" for line in digests)])


def _notes(report: Report, names: Sequence[str]) -> list[str]:
    """Sentences, each a paragraph."""
    result = report.rows[0].perplexity
    level = f"{report.run.level:.0%}"
    name_of = {row.model: name for row, name in zip(report.rows, names, strict=True)}
    against = [f"{name_of[row.model]} with {name_of[row.delta.b]}" for row in report.rows if row.delta]
    notes = [
        f"PPL with its standard error over {result.n_scored} tokens of {result.n_tokens}: {result.chunks} chunks of "
        f"{result.n_ctx}, {result.activations} activations, {result.cache_type} cache; text sha256 "
        f"{result.text_sha256}."
    ]
    if against:
        notes.append(
            f"Δ ln PPL: difference of the mean losses on the same tokens, with its {level} interval by block "
            f"bootstrap; compared are {', '.join(against)}."
        )
    if report.base is not None:
        notes.append(f"KLD: mean KL divergence in nats of the next token from {name_of[report.base]}.")
    notes.append(
        f"Tokens/s with their share of what memory or arithmetic allowed at that moment: {report.cpu}, {report.isa}, "
        f"{report.threads} threads, int8 activations; subbyte {report.version}."
    )
    return notes


def _cells(report: Report, i: int, names: Sequence[str], with_base: bool) -> tuple[str, ...]:
    row = report.rows[i]
    ppl = row.perplexity
    kld = f"{row.divergence.kld.value:.5f} ± {row.divergence.kld.error:.5f}" if row.divergence else ""
    return (
        names[i], str(row.size_class), f"{row.n_bytes / 1e6:.1f}", f"{row.bits_per_weight:.2f}",
        f"{ppl.ppl:.4f} ± {ppl.error:.4f}", f"{ppl.bits_per_byte:.4f}", *_delta(row),
        *([kld] if with_base else []), _speed(row.prompt), _speed(row.generation),
    )  # fmt: skip


def _delta(row: ReportRow) -> tuple[str, str]:
    if row.delta is None:
        return "", ""
    found = row.delta.log_ratio
    return f"{found.estimate:+.5f} [{found.low:+.5f} .. {found.high:+.5f}]", row.delta.verdict


def _speed(of: Speed) -> str:
    return f"{of.rate:.4g} ({of.share:.0%} of {of.limited_by})"
