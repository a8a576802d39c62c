"""Results of benchmarks/kernels.py, and the table of them."""

from collections.abc import Sequence
from dataclasses import dataclass

FEW, PROMPT = (2, 4, 8), (32, 128, 512)

HEAD = (
    "type", "instruction set", "cached: cycles", "GB/s", "memory: GB/s", "of reading", "unpack: cycles",
    *(f"{n} tokens: GMAC/s" if n == FEW[0] else str(n) for n in (*FEW, *PROMPT)), f"{PROMPT[-1]}: of peak", "discarded",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One kernel's medians; None where every sample was discarded, or there is no limit to have a share of.

    kernel: cached or memory (one token, weights from there), unpack, or a number of tokens. share: of what the machine
    allowed at that moment.
    """

    format: str
    isa: str
    shape: str
    kernel: str
    cycles_per_32: float | None
    gb_per_s: float | None
    gmac_per_s: float | None
    share: float | None
    kept: int
    discarded: int


def cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def table_row(results: Sequence[Result]) -> str:
    """The line of one block type, instruction set and shape."""
    by_name = {result.kernel: result for result in results}
    cached, memory, most = by_name["cached"], by_name["memory"], by_name[str(PROMPT[-1])]
    unpack = by_name["unpack"].cycles_per_32 if "unpack" in by_name else None
    discarded, tried = sum(r.discarded for r in results), sum(r.discarded + r.kept for r in results)
    cells = [
        most.format, most.isa, cell(cached.cycles_per_32, ".2f"), cell(cached.gb_per_s, ".1f"),
        cell(memory.gb_per_s, ".1f"), cell(memory.share, ".0%"), cell(unpack, ".2f"),
        *(cell(by_name[str(n)].gmac_per_s, ".0f") for n in (*FEW, *PROMPT)), cell(most.share, ".0%"),
        f"{discarded} of {tried}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def table_head() -> str:
    return "| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD)
