"""The metadata of a GGUF file behind typed getters: a value is checked where it is asked for."""

import builtins
import math
from collections.abc import Container, Iterator, Mapping
from typing import Any, TypeVar, overload

from subbyte.errors import FormatError
from subbyte.runtime.gguf.values import ARRAY, BOOL, FLOATS, INTEGERS, STRING, ArraySpan, MetadataValue, type_name
from subbyte.runtime.text import quoted

__all__ = ["ArraySpan", "Metadata"]

U32_MAX = 2**32 - 1
INF = math.inf
MAX_LIST = 1 << 16  # longer arrays are read through `span`

D = TypeVar("D")


class Metadata(Mapping[str, Any]):
    """Keys and values of one model.

    The typed getters raise FormatError for a value that is missing (unless a default is given), of another kind or
    out of range; a default number is held to the same range. `metadata[key]` decodes any value, whole arrays too: it
    serves to show it.

    file:    the file's name, as messages show it
    entries: the values as they were read
    used:    the keys that a typed getter was asked for
    """

    def __init__(self, file: builtins.str, entries: Mapping[builtins.str, MetadataValue]) -> None:
        self.file, self.entries = file, entries
        self.used: set[builtins.str] = set()

    def __getitem__(self, key: builtins.str) -> Any:
        kind, data = self.entries[key]
        if kind == STRING:
            return builtins.str(data, "utf-8", "replace")
        return data.values() if kind == ARRAY else data

    def __contains__(self, key: object) -> builtins.bool:
        return key in self.entries

    def __iter__(self) -> Iterator[builtins.str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def u32(self, key: builtins.str, *, lo: int = 0, hi: int = U32_MAX) -> int: ...
    @overload
    def u32(self, key: builtins.str, default: D, *, lo: int = 0, hi: int = U32_MAX) -> int | D: ...
    def u32(self, key: builtins.str, default: Any = ..., *, lo: int = 0, hi: int = U32_MAX) -> Any:
        """An integer, stored in any width, with lo <= value <= hi."""
        return self._number(key, default, INTEGERS, lo, hi, f"an integer from {lo} to {hi}")

    @overload
    def f32(self, key: builtins.str, *, lo: float = -INF, hi: float = INF) -> float: ...
    @overload
    def f32(self, key: builtins.str, default: D, *, lo: float = -INF, hi: float = INF) -> float | D: ...
    def f32(self, key: builtins.str, default: Any = ..., *, lo: float = -INF, hi: float = INF) -> Any:
        """A finite number, stored as a float or an integer of any width, with lo <= value <= hi."""
        bounds = "" if (lo, hi) == (-INF, INF) else f" from {lo:g} to {hi:g}"
        value = self._number(key, default, FLOATS | INTEGERS, lo, hi, f"a finite number{bounds}")
        return float(value) if isinstance(value, int) else value

    @overload
    def bool(self, key: builtins.str) -> builtins.bool: ...
    @overload
    def bool(self, key: builtins.str, default: D) -> builtins.bool | D: ...
    def bool(self, key: builtins.str, default: Any = ...) -> Any:
        """A bool."""
        entry = self._find(key, default, {BOOL}, "a bool")
        return default if entry is None else entry.data

    @overload
    def str(self, key: builtins.str) -> builtins.str: ...
    @overload
    def str(self, key: builtins.str, default: D) -> builtins.str | D: ...
    def str(self, key: builtins.str, default: Any = ...) -> Any:
        """A text; bytes that are not UTF-8 become U+FFFD."""
        entry = self._find(key, default, {STRING}, "a string")
        return default if entry is None else self[key]

    @overload
    def u32_array(
        self, key: builtins.str, *, length: int | None = None, lo: int = 0, hi: int = U32_MAX
    ) -> list[int]: ...
    @overload
    def u32_array(
        self, key: builtins.str, default: D, *, length: int | None = None, lo: int = 0, hi: int = U32_MAX
    ) -> list[int] | D: ...
    def u32_array(
        self, key: builtins.str, default: Any = ..., *, length: int | None = None, lo: int = 0, hi: int = U32_MAX
    ) -> Any:
        """A short array of integers, each lo <= value <= hi, with exactly `length` items if that is given."""
        items = f"at most {MAX_LIST}" if length is None else builtins.str(length)
        allowed = f"an array of {items} integers from {lo} to {hi}"
        entry = self._find(key, default, {ARRAY}, allowed)
        if entry is None:
            return default
        span: ArraySpan = entry.data
        fits = span.count <= MAX_LIST if length is None else span.count == length
        if not fits or (span.count and span.element_type not in INTEGERS):
            raise self._refusal(key, _found(entry), allowed)
        values = span.values()
        for i, value in enumerate(values):
            if not lo <= value <= hi:
                raise self._refusal(key, f"{_found(entry)} with {value} at index {i}", allowed)
        return values

    @overload
    def u32_or_array(self, key: builtins.str, n: int, *, lo: int = 0, hi: int = U32_MAX) -> list[int]: ...
    @overload
    def u32_or_array(self, key: builtins.str, n: int, default: int, *, lo: int = 0, hi: int = U32_MAX) -> list[int]: ...
    def u32_or_array(
        self, key: builtins.str, n: int, default: Any = ..., *, lo: int = 0, hi: int = U32_MAX
    ) -> list[int]:
        """`n` integers: an array of that length, or one integer (the default too) taken `n` times."""
        entry = self.entries.get(key)
        if entry is not None and entry.type == ARRAY:
            return self.u32_array(key, length=n, lo=lo, hi=hi)
        value: int = self.u32(key, default, lo=lo, hi=hi)
        return [value] * n

    def u32_or_bools(self, key: builtins.str, n: int, default: int, *, lo: int = 0) -> int | list[builtins.bool]:
        """An integer of at least `lo`, or an array of exactly `n` bools."""
        entry = self.entries.get(key)
        if entry is None or entry.type != ARRAY:
            return self.u32(key, default, lo=lo)
        self.used.add(key)
        span: ArraySpan = entry.data
        if span.element_type != BOOL or span.count != n:
            raise self._refusal(key, _found(entry), f"an integer from {lo} to {U32_MAX}, or an array of {n} bools")
        return span.values()

    def unused(self, prefix: builtins.str) -> dict[builtins.str, Any]:
        """What no typed getter was asked for of the keys with a prefix, without it; of a long array its length."""
        found = {key: entry for key, entry in self.entries.items() if key.startswith(prefix) and key not in self.used}
        return {
            key.removeprefix(prefix): data.count if kind == ARRAY and data.count > MAX_LIST else self[key]
            for key, (kind, data) in found.items()
        }

    def span(self, key: builtins.str) -> ArraySpan | None:
        """An array of any length as it lies in the file, or None when the key is missing."""
        entry = self._find(key, None, {ARRAY}, "an array")
        return None if entry is None else entry.data

    def _find(
        self, key: builtins.str, default: Any, kinds: Container[int], allowed: builtins.str
    ) -> MetadataValue | None:
        self.used.add(key)
        entry = self.entries.get(key)
        if entry is None and default is ...:
            raise self._refusal(key, "missing", allowed)
        if entry is not None and entry.type not in kinds:
            raise self._refusal(key, _found(entry), allowed)
        return entry

    def _number(
        self, key: builtins.str, default: Any, kinds: Container[int], lo: float, hi: float, allowed: builtins.str
    ) -> Any:
        entry = self._find(key, default, kinds, allowed)
        value = default if entry is None else entry.data
        if isinstance(value, (int, float)) and not (math.isfinite(value) and lo <= value <= hi):
            found = f"missing and would be {value}" if entry is None else _found(entry)
            raise self._refusal(key, found, allowed)
        return value

    def _refusal(self, key: builtins.str, found: builtins.str, allowed: builtins.str) -> FormatError:
        hint = "convert the model again, or get it from another source"
        return FormatError(f"{self.file}: metadata {quoted(key)} is {found}; allowed is {allowed}: {hint}")


def _found(entry: MetadataValue) -> str:
    if entry.type == ARRAY:
        return f"an array of {entry.data.count} {type_name(entry.data.element_type)}"
    return f"{entry.type_name} {quoted(entry.data) if entry.type == STRING else entry.data}"
