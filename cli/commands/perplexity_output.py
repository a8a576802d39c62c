"""What `subbyte perplexity` found: one value, or a table of models and how each differs from the first."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from subbyte.cli.options import Output
from subbyte.cli.terminal.console import encodable, one_line
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.tables import numeric, print_table

if TYPE_CHECKING:
    from subbyte.runtime.evaluation.perplexity_result import PerplexityResult, PerplexityRun


def print_perplexity(output: Output, command: str, files: Sequence[str], run: "PerplexityRun") -> None:
    """Writes the results, and what it takes to measure them again, to stdout."""
    if output == "json":
        print_json({"command": command, "files": list(files), **run.to_dict()})
    elif output == "csv":
        print_csv(_records(run, command))
    elif output == "md":
        conditions = _conditions(run.results[0]).replace("\n", "; ")
        print_markdown(numeric(*run.table()), conditions, f"    {one_line(command)}")
    elif len(run.results) == 1:
        _print_one(run.results[0])
    else:
        _print_several(run)


def _print_one(result: "PerplexityResult") -> None:
    """The final value, and below it all that another needs to get the same."""
    sign = encodable("±", "+/-", sys.stdout)
    print(f"PPL = {result.ppl:.4f} {sign} {result.error:.4f}, {result.bits_per_byte:.4f} bits per byte")
    print(_conditions(result))


def _print_several(run: "PerplexityRun") -> None:
    """A table, each model's difference from the first, and what it takes to repeat it."""
    sign = encodable("±", "+/-", sys.stdout)
    table = run.table()
    name, *numbers, verdict = (sign if column == "±" else column for column in table.columns)
    print_table("", (name, *(f"{column}>" for column in numbers), verdict), map(_one_lines, table.rows))
    print()
    print(_conditions(run.results[0]))
    print("verdict: paired, token by token, against the first model; the interval is by block bootstrap")


def _records(run: "PerplexityRun", command: str) -> Iterator[dict[str, Any]]:
    """A model each, every figure in full."""
    for i, result in enumerate(run.results):
        record = {name: value for name, value in result.to_dict().items() if name != "running"}
        delta = run.delta(i, 0)
        interval = delta.log_ratio
        record |= {"delta": interval.estimate, "low": interval.low, "high": interval.high, "level": interval.level}
        yield {**record, "verdict": delta.verdict, "command": command}


def _one_lines(row: tuple[str, ...]) -> tuple[str, ...]:
    """Cells that each are one printable line: a file may have any name."""
    return tuple(map(one_line, row))


def _conditions(result: "PerplexityResult") -> str:
    stride = f", stride {result.stride}" if result.stride else ""
    return (
        f"n_ctx {result.n_ctx}{stride}, {result.chunks} chunks, {result.n_scored} of {result.n_tokens} tokens scored, "
        f"{result.activations} activations, {result.cache_type} cache, {result.seconds:.1f} s\n"
        f"text sha256 {result.text_sha256}"
    )
