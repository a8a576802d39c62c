"""What of a schema or an expression would take time or memory without bound, refused before it is compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MAX_REPEATED = 100_000  # the product of repetition counts inside one another: the states of an automaton
MAX_GROUPS = 2_000  # of those of groups, whose states are more alike and so take longer
MAX_MULTIPLE = 10_000  # of multipleOf: as many states


def check_repetitions(name: str, pattern: str) -> None:
    """Refuses an expression with too large repetitions, such as (a{1000}){1000}. Raises ValueError."""
    groups, most = _repetitions(pattern)
    if most > MAX_REPEATED or groups > MAX_GROUPS:
        raise ValueError(
            f"{name} repeats a group {groups} times and what is in it {most} times in all; {MAX_GROUPS} and "
            f"{MAX_REPEATED} are allowed: use smaller counts, or * and +"
        )


def check_schema(schema: Any) -> None:
    """Refuses what in a JSON schema would take too long. Raises ValueError."""
    for keyword, value in _keywords(schema):
        if keyword == "pattern" and isinstance(value, str):
            check_repetitions("a pattern of the schema", value)
        elif keyword == "patternProperties" and isinstance(value, dict):
            for pattern in value:
                check_repetitions("a pattern of the schema", pattern)
        elif keyword == "multipleOf" and isinstance(value, int | float) and _steps(value) > MAX_MULTIPLE:
            raise ValueError(f"the schema has multipleOf {value}, but at most {MAX_MULTIPLE} are kept apart")


def _keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """All pairs in all objects of a schema but for those in plain values."""
    waiting = [schema]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            yield from found.items()
            waiting += [value for key, value in found.items() if key not in ("const", "enum", "default", "examples")]


def _steps(multiple: float) -> float:
    """How many remainders a multiple has, in units of its last decimal."""
    while multiple != int(multiple) and multiple < MAX_MULTIPLE:
        multiple *= 10
    return multiple


def _repetitions(pattern: str) -> tuple[int, int]:
    """The largest products of counts {n}, {m,n} or {m,} inside one another: of those of groups alone, and of all."""
    around: list[tuple[int, int]] = []  # products so far within the groups that are open, but for the innermost
    within = item = most = (1, 1)
    grouped = False  # whether the last item is a group
    i = 0
    while i < len(pattern):
        c = pattern[i]
        if c == "{" and (count := _count(pattern, i)):
            item = (item[0] * (count if grouped else 1), item[1] * count)
            i = pattern.index("}", i)
        elif c == "(":
            around.append(within)
            within = item = (1, 1)
        elif c == ")" and around:
            item, within, grouped = within, around.pop(), True
        elif c not in "*+?":
            item, grouped = (1, 1), False
            i = _class_end(pattern, i) if c == "[" else i + (c == "\\")
        within = (max(within[0], item[0]), max(within[1], item[1]))
        most = (max(most[0], within[0]), max(most[1], within[1]))
        i += 1
    return most


def _class_end(pattern: str, begin: int) -> int:
    """Where a character class ends."""
    i = begin + 1 + pattern.startswith("^", begin + 1)
    i += pattern.startswith("]", i)
    while i < len(pattern) and pattern[i] != "]":
        i += 1 + (pattern[i] == "\\")
    return i


def _count(pattern: str, begin: int) -> int:
    """The largest count of a repetition; 0 if it is none."""
    numbers = [part.strip() for part in pattern[begin + 1 : pattern.find("}", begin)].split(",")]
    if "}" not in pattern[begin:] or len(numbers) > 2 or not all(part.isdecimal() or not part for part in numbers):
        return 0
    return max((int(part[:18]) for part in numbers if part), default=0)
