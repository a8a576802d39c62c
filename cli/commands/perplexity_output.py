"""What `subbyte perplexity` found: one value, or a table of models and how each differs from the first."""

import csv
import sys
from typing import TYPE_CHECKING

from subbyte.cli.terminal.console import encodable, one_line
from subbyte.cli.terminal.tables import print_table

if TYPE_CHECKING:
    from subbyte.runtime.evaluation.perplexity_result import PerplexityResult, PerplexityRun


def print_one(result: "PerplexityResult") -> None:
    """The final value, and below it all that another needs to get the same."""
    sign = encodable("±", "+/-", sys.stdout)
    print(f"PPL = {result.ppl:.4f} {sign} {result.error:.4f}, {result.bits_per_byte:.4f} bits per byte")
    print(_conditions(result))


def print_several(run: "PerplexityRun") -> None:
    """A table, each model's difference from the first, and what it takes to repeat it."""
    sign = encodable("±", "+/-", sys.stdout)
    table = run.table()
    name, *numbers, verdict = (sign if column == "±" else column for column in table.columns)
    print_table("", (name, *(f"{column}>" for column in numbers), verdict), map(one_lines, table.rows))
    print()
    print(_conditions(run.results[0]))
    print("verdict: of the differences token by token, against the first model; the interval is by block bootstrap")


def print_markdown(run: "PerplexityRun", command: str) -> None:
    """The table for a model card, with the command and the text it comes from."""
    from subbyte.runtime.evaluation.tables import markdown

    print(markdown([run.table()]))
    print(f"\n{_conditions(run.results[0]).replace(chr(10), '; ')}\n\n    {one_line(command)}")


def print_csv(run: "PerplexityRun", command: str) -> None:
    """A line of headings and a line a model, every figure in full."""
    rows = []
    for i, result in enumerate(run.results):
        row = {name: value for name, value in result.to_dict().items() if name != "running"}
        delta = run.delta(i, 0)
        interval = delta.log_ratio
        row |= {"delta": interval.estimate, "low": interval.low, "high": interval.high, "level": interval.level}
        rows.append({**row, "verdict": delta.verdict, "command": one_line(command)})
    out = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
    out.writeheader()
    out.writerows(rows)


def one_lines(row: tuple[str, ...]) -> tuple[str, ...]:
    """Cells that each are one printable line: a file may have any name."""
    return tuple(map(one_line, row))


def _conditions(result: "PerplexityResult") -> str:
    stride = f", stride {result.stride}" if result.stride else ""
    return (
        f"n_ctx {result.n_ctx}{stride}, {result.chunks} chunks, {result.n_scored} of {result.n_tokens} tokens scored, "
        f"{result.activations} activations, {result.cache_type} cache, {result.seconds:.1f} s\n"
        f"text sha256 {result.text_sha256}"
    )
