"""The results of `subbyte compare` as tables, Markdown, JSON and CSV."""

import csv
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from subbyte.cli.terminal.console import encodable, one_line, print_json
from subbyte.cli.terminal.tables import print_table

if TYPE_CHECKING:
    from subbyte.runtime.compare.attribution_result import BlameRun
    from subbyte.runtime.compare.result import CompareRun

FORMATS = ("text", "json", "csv", "md")
_ASCII = {"±": "+/-", "Δ": "d", "→": "->"}


def print_comparison(output: str, command: str, run: "CompareRun", blames: Sequence["BlameRun"]) -> None:
    """Writes a comparison, and what the tensors are blamed for, to stdout."""
    from subbyte.runtime.evaluation.tables import markdown

    if output == "json":
        print_json({"command": command, **run.to_dict(), "blame": [blame.to_dict() for blame in blames]})
        return
    if output == "csv":
        _print_csv(run)
        return
    tables = [*run.tables(), *(blame.table() for blame in blames)]
    conditions = (
        f"base {one_line(run.base)}",
        f"n_ctx {run.n_ctx}, {run.chunks} chunks, {run.n_scored} of {run.n_tokens} tokens scored, "
        f"{run.activations} activations, {run.cache_type} cache, {run.seconds:.1f} s",
        f"text sha256 {run.text_sha256}" if run.text_sha256 else "tokens of the base file",
    )
    if output == "md":
        print(_shown(markdown(tables)))
        print(f"\n{'; '.join(conditions)}\n\n    {one_line(command)}")
        return
    for title, columns, rows in tables:
        headings = [columns[0], *(f"{column}>" for column in columns[1:])]
        print_table(_shown(title), headings, [[_shown(cell) for cell in row] for row in rows])
    print("", *conditions, sep="\n")


def _shown(text: str) -> str:
    """The text in characters that stdout has."""
    for sign, plain in _ASCII.items():
        text = text.replace(sign, encodable(sign, plain, sys.stdout))
    return text


def _print_csv(run: "CompareRun") -> None:
    """A line of headings and a line a model."""
    shared = {
        "base": one_line(run.base), "n_ctx": run.n_ctx, "chunks": run.chunks, "n_scored": run.n_scored,
        "text_sha256": run.text_sha256, "cache_type": run.cache_type, "activations": run.activations,
    }  # fmt: skip
    rows = [{**dict(_flat("", result.to_dict())), **shared} for result in run.results]
    out = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
    out.writeheader()
    out.writerows(rows)


def _flat(prefix: str, facts: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Facts within facts as `kld_value`, `kld_percentiles_99.9`."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}_", value)
        else:
            yield prefix + name, one_line(value) if isinstance(value, str) else value
