"""The results of `subbyte compare` as tables, Markdown, JSON and CSV."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from subbyte.cli.options import Output
from subbyte.cli.terminal.console import one_line
from subbyte.cli.terminal.output import flat, print_csv, print_json, print_markdown, shown
from subbyte.cli.terminal.tables import numeric, print_table

if TYPE_CHECKING:
    from subbyte.runtime.compare.attribution_result import Attribution
    from subbyte.runtime.compare.result import CompareRun


def print_comparison(output: Output, command: str, run: "CompareRun", attributions: Sequence["Attribution"]) -> None:
    """Writes a comparison, and what of the divergence is due to which tensors, to stdout."""
    if output == "json":
        print_json(
            {"command": command, **run.to_dict(), "blame": [attribution.to_dict() for attribution in attributions]}
        )
        return
    if output == "csv":
        print_csv(_records(run))
        return
    tables = [numeric(*table) for table in (*run.tables(), *(attribution.table() for attribution in attributions))]
    conditions = _conditions(run)
    if output == "md":
        print_markdown(*tables, "; ".join(conditions), f"    {one_line(command)}")
        return
    for title, columns, rows in tables:
        print_table(shown(title), columns, [[shown(cell) for cell in row] for row in rows])
    print("", *conditions, sep="\n")


def _conditions(run: "CompareRun") -> tuple[str, ...]:
    return (
        f"base {one_line(run.base)}",
        f"n_ctx {run.n_ctx}, {run.chunks} chunks, {run.n_scored} of {run.n_tokens} tokens scored, "
        f"{run.activations} activations, {run.cache_type} cache, {run.seconds:.1f} s",
        f"text sha256 {run.text_sha256}" if run.text_sha256 else "tokens of the base file",
    )


def _records(run: "CompareRun") -> Iterator[dict[str, Any]]:
    """A model each, every figure in full."""
    for result in run.results:
        yield {
            **dict(flat(result.to_dict())),
            "base": run.base, "n_ctx": run.n_ctx, "chunks": run.chunks, "n_scored": run.n_scored,
            "text_sha256": run.text_sha256, "cache_type": run.cache_type, "activations": run.activations,
        }  # fmt: skip
