"""Metadata of two files side by side: single values, texts line by line, arrays item by item."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.gguf._strings import scan_strings, split_strings
from subbyte.runtime.gguf.identical import same_bytes
from subbyte.runtime.gguf.metadata import Metadata
from subbyte.runtime.gguf.values import ARRAY, MAX_STRING_BYTES, SCALARS, STRING, ArraySpan, MetadataValue
from subbyte.runtime.inspect.diff_text import changed_lines
from subbyte.runtime.inspect.summary import item
from subbyte.runtime.records import Record
from subbyte.runtime.text import quoted

SHORT = 100  # characters of a text that is shown as a whole
MAX_TEXT = 1 << 20  # bytes of a text that are looked at line by line
SHOWN_ITEMS = 3
_Piece: TypeAlias = tuple[int, Any, Any, NDArray[np.intp]]
"""Where items begin, a's and b's, and at which of them they differ."""

STRINGS_AT_ONCE = 1 << 16  # so that comparing needs little memory


@dataclass(frozen=True, slots=True)
class ValueChange(Record):
    """A key's values on one line, long ones shortened; None: the file has no such key."""

    key: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class TextChange(Record):
    """A text's changed lines in its first MAX_TEXT bytes, as a unified diff; lines: the first MAX_LINES of that."""

    key: str
    bytes_a: int
    bytes_b: int
    n_removed: int
    n_added: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArrayChange(Record):
    """An array's lengths, how many of the items that both have differ, and the first of those: index, a's, b's."""

    key: str
    count_a: int
    count_b: int
    n_differing: int
    first: tuple[tuple[int, str, str], ...]


def compare_metadata(
    a: Metadata, b: Metadata
) -> tuple[tuple[ValueChange, ...], tuple[TextChange, ...], tuple[ArrayChange, ...]]:
    """The changes in the order of a's keys, then of those that only b has."""
    values: list[ValueChange] = []
    texts: list[TextChange] = []
    arrays: list[ArrayChange] = []
    for key in [*a, *(key for key in b if key not in a)]:
        left, right = a.entries.get(key), b.entries.get(key)
        if left is None or right is None or left.type_name != right.type_name:
            shown = (_item(side, key, typed=left is not None and right is not None) for side in (a, b))
            values.append(ValueChange(key, *shown))
        elif left.type == ARRAY:
            arrays += _compare_arrays(key, left.data, right.data)
        elif left.type == STRING:
            if not same_bytes(left.data, right.data):
                old, new = _text(left.data), _text(right.data)
                if max(len(old), len(new)) > SHORT or "\n" in old + new:
                    texts.append(TextChange(key, len(left.data), len(right.data), *changed_lines(old, new)))
                else:
                    values.append(ValueChange(key, quoted(old, SHORT), quoted(new, SHORT)))
        elif left.data != right.data and not (left.data != left.data and right.data != right.data):  # NaN is NaN
            values.append(ValueChange(key, _number(left), _number(right)))
    return tuple(values), tuple(texts), tuple(arrays)


def _text(data: memoryview) -> str:
    """Bytes that are no UTF-8 are spelt out: texts that differ in nothing else must not look alike."""
    return str(data[:MAX_TEXT], "utf-8", "backslashreplace")


def _item(metadata: Metadata, key: str, *, typed: bool) -> str | None:
    if key not in metadata:
        return None
    value = item(metadata, key)
    return f"{value.type} {value.text}" if typed else value.text


def _number(value: MetadataValue) -> str:
    """All digits that tell it from its neighbours."""
    return str(np.float32(value.data)) if value.type_name == "f32" else repr(value.data)


def _compare_arrays(key: str, a: ArraySpan, b: ArraySpan) -> list[ArrayChange]:
    if a.count == b.count and same_bytes(a.data, b.data):
        return []
    n_differing = 0
    first: list[tuple[int, Any, Any]] = []
    for start, left, right, different in (_compare_strings if a.element_type == STRING else _compare_numbers)(a, b):
        n_differing += len(different)
        first += [(start + int(i), left[i], right[i]) for i in different[: SHOWN_ITEMS - len(first)]]
    shown = tuple((i, _array_item(left), _array_item(right)) for i, left, right in first)
    return [ArrayChange(key, a.count, b.count, n_differing, shown)]


def _compare_numbers(a: ArraySpan, b: ArraySpan) -> Iterator[_Piece]:
    layout, count = SCALARS[a.element_type][1], min(a.count, b.count)
    left, right = (np.frombuffer(side.data, layout.format, count) for side in (a, b))
    bits = f"u{layout.size}"  # as NaN equals nothing
    yield 0, left, right, np.flatnonzero(left.view(bits) != right.view(bits))


def _compare_strings(a: ArraySpan, b: ArraySpan) -> Iterator[_Piece]:
    at_a = at_b = 0
    for start in range(0, min(a.count, b.count), STRINGS_AT_ONCE):
        n = min(STRINGS_AT_ONCE, a.count - start, b.count - start)
        left, at_a = _strings(a, at_a, n)
        right, at_b = _strings(b, at_b, n)
        yield start, left, right, np.flatnonzero(left != right)


def _strings(span: ArraySpan, at: int, n: int) -> tuple[Any, int]:
    end = scan_strings(span.data, at, n, MAX_STRING_BYTES)[1]
    strings = np.empty(n, object)
    strings[:] = split_strings(span.data[at:end], n)
    return strings, end


def _array_item(value: Any) -> str:
    return quoted(value) if isinstance(value, bytes) else str(value)
