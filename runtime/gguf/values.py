"""The key-value section of a GGUF file: the value types, and arrays that stay as bytes until they are asked for."""

import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

from subbyte.runtime.gguf._strings import scan_strings, split_strings
from subbyte.runtime.gguf.cursor import DAMAGED, Cursor
from subbyte.runtime.text import quoted

# Value type ids of the GGUF specification. A bool is one byte; any byte but 0 is true.
SCALARS = {
    id: (name, struct.Struct("<" + code))
    for id, name, code in [
        (0, "u8", "B"), (1, "i8", "b"), (2, "u16", "H"), (3, "i16", "h"), (4, "u32", "I"), (5, "i32", "i"),
        (6, "f32", "f"), (7, "bool", "?"), (10, "u64", "Q"), (11, "i64", "q"), (12, "f64", "d"),
    ]
}  # fmt: skip
BOOL, STRING, ARRAY = 7, 8, 9
FLOATS = frozenset({6, 12})
INTEGERS = frozenset(SCALARS) - FLOATS - {BOOL}

MAX_KEYS = 1 << 16
MAX_KEY_BYTES = 65_535
MAX_STRING_BYTES = 64 << 20
MAX_ARRAY_ITEMS = 1 << 26
MIN_PAIR_BYTES = 8 + 1 + 4 + 1  # key length, shortest key, type, shortest value


def type_name(type_id: int) -> str:
    """The name of a value type as messages and `subbyte inspect` show it: "u32", "str"."""
    return "str" if type_id == STRING else SCALARS[type_id][0]


@dataclass(frozen=True, eq=False, slots=True)
class ArraySpan:
    """An array value as it lies in the file.

    element_type: GGUF value type id of the items, never an array
    count:        number of items
    data:         exactly the bytes of the items; a string is a u64 length and that many bytes, all inside `data`
    """

    element_type: int
    count: int
    data: memoryview

    def values(self, limit: int | None = None) -> list[Any]:
        """Decodes the items, or the first `limit` of them, to int, float, bool or str."""
        count = self.count if limit is None else min(limit, self.count)
        if self.element_type == STRING:
            return [text.decode("utf-8", "replace") for text in split_strings(self.data, count)]
        layout = SCALARS[self.element_type][1]
        return [value for (value,) in layout.iter_unpack(self.data[: count * layout.size])]


class MetadataValue(NamedTuple):
    """One metadata value; `data` is an int, float or bool, the bytes of a string, or an ArraySpan."""

    type: int
    data: Any

    @property
    def type_name(self) -> str:
        """ "u32", "str", and "[str]" for an array of strings."""
        return f"[{type_name(self.data.element_type)}]" if self.type == ARRAY else type_name(self.type)


def read_values(cursor: Cursor, n_keys: int) -> dict[str, MetadataValue]:
    """Reads the key-value section, `n_keys` pairs from the cursor on; raises FormatError."""
    values: dict[str, MetadataValue] = {}
    for i in range(n_keys):
        start, cursor.place = cursor.pos, f"metadata entry {i + 1} of {n_keys}"
        key = cursor.name("the key", MAX_KEY_BYTES)
        if key in values:
            raise cursor.error(f"key {quoted(key)} occurs twice; {DAMAGED}", start)
        cursor.place = f"metadata {quoted(key)}"
        type_id = cursor.u32("the value's type")
        values[key] = MetadataValue(type_id, _read_value(cursor, type_id))
    return values


def _read_value(cursor: Cursor, type_id: int) -> Any:
    if type_id in SCALARS:
        name, layout = SCALARS[type_id]
        return cursor.unpack(layout, f"the {name} value")[0]
    if type_id == STRING:
        return cursor.string("the text", MAX_STRING_BYTES)
    if type_id == ARRAY:
        return _read_array(cursor)
    raise cursor.error(f"value type {type_id} is unknown, types 0 to 12 exist; {DAMAGED}", cursor.pos - 4)


def _read_array(cursor: Cursor) -> ArraySpan:
    start = cursor.pos
    element_type, count = cursor.u32("the array's element type"), cursor.u64("the array's length")
    if element_type == ARRAY:
        raise cursor.error("an array of arrays is not allowed; convert the model again without it", start)
    if element_type != STRING and element_type not in SCALARS:
        raise cursor.error(f"element type {element_type} is unknown, types 0 to 12 exist; {DAMAGED}", start)
    item_bytes = 8 if element_type == STRING else SCALARS[element_type][1].size
    if count * item_bytes > cursor.left:
        found = f"an array of {count} {type_name(element_type)} needs at least {count * item_bytes} bytes"
        raise cursor.error(f"{found}, {cursor.left} are left; {DAMAGED}", start)
    if count > MAX_ARRAY_ITEMS:
        raise cursor.error(f"an array has {count} items, at most {MAX_ARRAY_ITEMS} are allowed", start)
    if element_type != STRING:
        return ArraySpan(element_type, count, cursor.take(count * item_bytes, "the array"))
    items = cursor.pos
    n_whole, cursor.pos = scan_strings(cursor.data, items, count, MAX_STRING_BYTES)
    if n_whole < count:
        cursor.string(f"string {n_whole} of {count}", MAX_STRING_BYTES)  # raises: the scan stopped at this one
    n_bytes, cursor.pos = cursor.pos - items, items
    return ArraySpan(STRING, count, cursor.take(n_bytes, "the array"))
