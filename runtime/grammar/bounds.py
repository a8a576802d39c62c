"""What of a schema or an expression would take time or memory without bound, refused before it is compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MAX_REPEATED = 100_000  # the product of repetition counts inside one another: the states of an automaton
MAX_MULTIPLE = 10_000  # of multipleOf: as many states


def check_repetitions(name: str, pattern: str) -> None:
    """Refuses an expression with repetitions in repetitions, such as (a{1000}){1000}. Raises ValueError."""
    if (most := _nested_counts(pattern)) > MAX_REPEATED:
        raise ValueError(
            f"{name} repeats what is repeated, up to {most} times in all; {MAX_REPEATED} are allowed: "
            "use smaller counts, or * and +"
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


def _nested_counts(pattern: str) -> int:
    """The largest product of counts {n}, {m,n} or {m,} that are inside one another."""
    open_groups: list[int] = []  # the largest product within each, so far
    within = most = 1  # in the group at hand; of the last item
    item = 1
    i = 0
    while i < len(pattern):
        c = pattern[i]
        if c == "\\":
            i, item = i + 1, 1
        elif c == "[":
            i, item = _class_end(pattern, i), 1
        elif c == "(":
            open_groups.append(within)
            within = 1
        elif c == ")" and open_groups:
            item, within = within, max(within, open_groups.pop())
        elif c == "{" and (count := _count(pattern, i)):
            item *= count
            within = max(within, item)
            i = pattern.index("}", i)
        elif c not in "*+?":
            item = 1
        most = max(most, within)
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
