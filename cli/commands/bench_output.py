"""The result of `subbyte bench` as a table for people and documents, and as CSV."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from subbyte.cli.options import Output
from subbyte.cli.terminal.console import encodable, human_count, human_size, one_line
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.tables import Table, print_table

if TYPE_CHECKING:
    from subbyte.runtime.bench.bench import BenchResult


def print_bench(output: Output, command: str, result: "BenchResult") -> None:
    """Writes the figures, and the roofline they are compared with, to stdout."""
    if output == "json":
        print_json({"command": command, **result.to_dict()})
    elif output == "csv":
        print_csv(_records(result))
    elif output == "md":
        print_markdown("; ".join(_head(result)), _table(result), "; ".join(_notes(result)), f"    {one_line(command)}")
    else:
        print(*_head(result), "", sep="\n")
        print_table(*_table(result))
        print("", *_notes(result), sep="\n")


def _head(result: "BenchResult") -> list[str]:
    """What was measured, on what."""
    model = result.model
    bits = f"{human_count(model['n_params'])} weights at {model['bits_per_weight']:.2f} bits"
    options = f"{result.activations} activations, {result.cache_type} cache"
    return [
        one_line(model["name"]),
        one_line(f"{model['architecture']}, {bits}, {human_size(model['size'])}; {options}"),
        one_line(f"{result.cpu}, {result.isa}"),
    ]


def _table(result: "BenchResult") -> Table:
    rows = [
        (row["test"], str(row["threads"]), *_figures(row["tokens_per_second"], row["spread"]),
         f"{row['share_of_roofline']:.0%}", row["bound_by"])
        for row in _records(result)
    ]  # fmt: skip
    return Table("", ("test", "threads>", "tokens/s>", f"{_sign()}>", "% of roofline>", "bound by"), rows)


def _notes(result: "BenchResult") -> list[str]:
    """The machine's peaks, and what the columns mean."""
    notes = []
    for threads, peak in result.rooflines().items():
        who = f"{threads} threads reach" if threads > 1 else "1 thread reaches"
        macs = f"{_giga(peak.int8_macs)} int8, {_giga(peak.bf16_macs)} bf16, {_giga(peak.float_macs)} float"
        notes.append(f"{who} {peak.bandwidth / 1e9:.1f} GB/s; {macs} multiply-adds/s")
    deviation = f"median of {result.repeats} runs {_sign()} their median absolute deviation"
    notes.append(f"tokens/s: {deviation if result.repeats > 1 else 'one run'}")
    notes.append("% of roofline: least time at peak bandwidth and arithmetic, of the time taken")
    return notes


def _records(result: "BenchResult") -> Iterator[dict[str, Any]]:
    """A test each, every figure in full; the one place that knows the fields of a result."""
    for of in result.measured:
        case, peak = of.case, of.roofline
        yield {
            "version": result.version, "cpu": result.cpu, "isa": result.isa,
            "model": result.model["name"], "architecture": result.model["architecture"],
            "bytes": result.model["size"], "types": " ".join(result.types),
            "activations": result.activations, "cache_type": result.cache_type,
            "test": case.name, "kind": case.kind, "n_tokens": case.n_tokens, "depth": case.depth,
            "threads": case.threads, "repeats": result.repeats,
            "tokens_per_second": of.rate, "spread": of.spread, "share_of_roofline": of.share,
            "bound_by": of.bound_by,
            "bandwidth": peak.bandwidth, "int8_macs": peak.int8_macs, "float_macs": peak.float_macs,
            "bf16_macs": peak.bf16_macs,
        }  # fmt: skip


def _sign() -> str:
    return encodable("±", "+/-", sys.stdout)


def _figures(rate: float, spread: float) -> tuple[str, str]:
    """Four digits or so of a rate, and as many decimals of its spread."""
    decimals = 0 if rate >= 1000 else 1 if rate >= 10 else 2
    return f"{rate:.{decimals}f}", f"{spread:.{decimals}f}"


def _giga(value: float) -> str:
    return f"{value / 1e9:.0f} G"
