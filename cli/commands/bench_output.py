"""The result of `subbyte bench` as a table for people and as CSV."""

import csv
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from subbyte.cli.terminal.console import encodable, human_count, human_size, one_line
from subbyte.cli.terminal.tables import print_table

if TYPE_CHECKING:
    from subbyte.runtime.bench.bench import BenchResult


def print_figures(result: "BenchResult") -> None:
    """The figures, and below them the limits they are compared with."""
    model = result.model
    bits = f"{human_count(model['n_params'])} weights at {model['bits_per_weight']:.2f} bits"
    how = f"{result.activations} activations, {result.cache_type} cache"
    print(one_line(model["name"]))
    print(f"{model['architecture']}, {bits}, {human_size(model['size'])}; {how}")
    print(one_line(f"{result.cpu}, {result.isa}"))
    sign = encodable("±", "+/-", sys.stdout)
    rows = (
        (of.case.name, str(of.case.threads), *_figures(of.rate, of.spread), f"{of.share:.0%}", of.limited_by)
        for of in result.measured
    )
    print()
    print_table("", ("test", "threads>", "tokens/s>", f"{sign}>", "of limit>", "set by"), rows)
    print()
    for threads, best in result.limits().items():
        who = f"{threads} threads reach" if threads > 1 else "1 thread reaches"
        macs = f"{_giga(best.int8_macs)} int8, {_giga(best.bf16_macs)} bf16, {_giga(best.float_macs)} float"
        print(f"{who} {best.read_bytes / 1e9:.1f} GB/s; {macs} multiply-adds/s")
    runs = f"median of {result.repeats} runs {sign} their median distance from it" if result.repeats > 1 else "one run"
    print(f"tokens/s: {runs}")
    print("of limit: the least time its reading or multiply-adds need, of the time taken")


def print_csv(result: "BenchResult") -> None:
    """A line of headings and a line a test."""
    rows = list(_csv_rows(result))
    out = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
    out.writeheader()
    out.writerows(rows)


def _csv_rows(result: "BenchResult") -> Iterator[dict[str, object]]:
    for of in result.measured:
        case, limits = of.case, of.limits
        yield {
            "version": result.version, "cpu": result.cpu, "isa": result.isa,
            "model": one_line(result.model["name"]), "architecture": result.model["architecture"],
            "bytes": result.model["size"], "types": " ".join(result.types),
            "activations": result.activations, "cache_type": result.cache_type,
            "test": case.name, "kind": case.kind, "n_tokens": case.n_tokens, "depth": case.depth,
            "threads": case.threads, "repeats": result.repeats,
            "tokens_per_second": of.rate, "spread": of.spread, "share_of_limit": of.share, "limited_by": of.limited_by,
            "read_bytes": limits.read_bytes, "int8_macs": limits.int8_macs, "float_macs": limits.float_macs,
            "bf16_macs": limits.bf16_macs,
        }  # fmt: skip


def _figures(rate: float, spread: float) -> tuple[str, str]:
    """Four digits or so of a rate, and as many decimals of its spread."""
    decimals = 0 if rate >= 1000 else 1 if rate >= 10 else 2
    return f"{rate:.{decimals}f}", f"{spread:.{decimals}f}"


def _giga(value: float) -> str:
    return f"{value / 1e9:.0f} G"
