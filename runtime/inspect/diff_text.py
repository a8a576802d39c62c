"""The changed lines of a text, also of one written in a single line, in time that no text can stretch."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import TypeAlias

CONTEXT = 2  # unchanged lines around a change
LONG_LINE = 160  # characters; longer lines are broken, at the ends of Jinja's tags if they have some
MAX_PAIRS = 1 << 17  # of changed lines that difflib may match: its time grows faster than their number
MAX_LINES = 1000  # of the result

_TAG_END = re.compile(r"(?<=%\})|(?<=\}\})")
_Opcode: TypeAlias = tuple[str, int, int, int, int]


def changed_lines(a: str, b: str) -> tuple[int, int, tuple[str, ...]]:
    """(lines removed, lines added, a unified diff without its first two lines, at most MAX_LINES of it)."""
    old, new = list(_lines(a)), list(_lines(b))
    first = _n_shared(old, new)
    last = _n_shared(old[first:][::-1], new[first:][::-1])
    skipped, rest = max(first - CONTEXT, 0), max(last - CONTEXT, 0)
    old, new = old[skipped : len(old) - rest], new[skipped : len(new) - rest]
    removed = added = 0
    shown: list[str] = []
    for group in _groups(old, new, first - skipped, last - rest):
        shown.append(f"@@ -{skipped + group[0][1] + 1} +{skipped + group[0][3] + 1} @@")
        for kind, i, i_end, j, j_end in group:
            if kind == "equal":
                shown += [f" {line}" for line in old[i:i_end]]
                continue
            removed, added = removed + i_end - i, added + j_end - j
            shown += [f"-{line}" for line in old[i:i_end][:MAX_LINES]]
            shown += [f"+{line}" for line in new[j:j_end][:MAX_LINES]]
    return removed, added, tuple(shown[:MAX_LINES])


def _lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if len(line) <= LONG_LINE:
            yield line
            continue
        for piece in _TAG_END.split(line):
            yield from (piece[i : i + LONG_LINE] for i in range(0, len(piece), LONG_LINE))


def _n_shared(a: Sequence[str], b: Sequence[str]) -> int:
    """How many lines at the beginning are the same."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _groups(old: Sequence[str], new: Sequence[str], head: int, tail: int) -> Iterable[Sequence[_Opcode]]:
    """Changes with their context, as difflib tells them; head, tail: lines at both ends that are known to be shared."""
    m, n = len(old), len(new)
    if m * n <= MAX_PAIRS:
        return SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT)
    replaced = ("replace", head, m - tail, head, n - tail)
    return [[("equal", 0, head, 0, head), replaced, ("equal", m - tail, m, n - tail, n)]]
