"""Metadata values written as text, `TYPE:VALUE`, in the types that a GGUF file has."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

from subbyte.runtime.gguf.values import (
    ARRAY,
    BOOL,
    FLOATS,
    INTEGERS,
    MAX_ARRAY_ITEMS,
    MAX_KEY_BYTES,
    MAX_STRING_BYTES,
    SCALARS,
    STRING,
    ArraySpan,
    MetadataValue,
    type_name,
)

F32 = 6
_IDS = {"str": STRING, **{name: id for id, (name, _) in SCALARS.items()}}
_COMMON_INTEGERS = (4, 5, 10, 11)  # u32, i32, u64, i64: what converters write
TYPES = ("int", "float", *_IDS, "[str]", "[u32]", "…")


def parse_value(text: str, was: MetadataValue | None) -> MetadataValue:
    """The value that `TYPE:VALUE` gives. was: the key's value so far.

    TYPE is one of GGUF's (u8, i8, …, f64, bool, str); int or float, which take the type that the value had, or else the
    first of u32, i32, u64 and i64 that holds it, and f32; or one of GGUF's in brackets for an array, whose VALUE is
    JSON. Raises ValueError.
    """
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f'{text!r:.80} is no TYPE:VALUE, such as str:a name, int:4096 or [str]:["a", "b"]')
    if name.startswith("[") and name.endswith("]"):
        return _array(_type_id(name[1:-1], name), value)
    if name == "int":
        return _integer(_whole(value), was)
    if name == "float":
        if was is not None and was.type in INTEGERS:
            raise ValueError(f"is {type_name(was.type)} in the file; give int:, or a type of its own such as f32:")
        had = was.type if was is not None and was.type in FLOATS else F32
        return _scalar(had, _number(value))
    id = _type_id(name, name)
    if id == STRING:
        return MetadataValue(STRING, memoryview(_bytes(value)))
    if id == BOOL:
        if value not in ("true", "false"):
            raise ValueError(f"{value!r:.80} is no bool; allowed are true and false")
        return MetadataValue(BOOL, value == "true")
    return _scalar(id, _whole(value) if id in INTEGERS else _number(value))


def parse_setting(text: str) -> tuple[str, str]:
    """Key, and TYPE:VALUE, of `KEY=TYPE:VALUE`. Raises ValueError."""
    key, equals, typed = text.partition("=")
    if not equals or not 1 <= len(_bytes(key)) <= MAX_KEY_BYTES:
        raise ValueError(f"{text!r:.120} is no KEY=TYPE:VALUE, such as general.name=str:a name")
    return key, typed


def _type_id(name: str, given: str) -> int:
    if name not in _IDS:
        raise ValueError(f"{given!r:.40} is no type of a value; allowed are {', '.join(TYPES)}")
    return _IDS[name]


def _whole(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{value!r:.80} is no whole number") from None


def _number(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{value!r:.80} is no finite number")
    return number


def _integer(value: int, was: MetadataValue | None) -> MetadataValue:
    if was is not None and was.type in INTEGERS:
        return _scalar(was.type, value)
    if was is not None and was.type in FLOATS:
        return MetadataValue(was.type, float(_scalar(was.type, value).data))
    fitting = next((id for id in _COMMON_INTEGERS if _fits(id, value)), _COMMON_INTEGERS[-1])
    return _scalar(fitting, value)


def _fits(id: int, value: float) -> bool:
    try:
        SCALARS[id][1].pack(value)
    except (struct.error, OverflowError):
        return False
    return True


def _scalar(id: int, value: float) -> MetadataValue:
    if not _fits(id, value):
        raise ValueError(f"{str(value)[:80]} is out of the range of {type_name(id)}")
    return MetadataValue(id, value)


def _bytes(value: str) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{value!r:.80} is not UTF-8") from None
    if len(data) > MAX_STRING_BYTES:
        raise ValueError(f"a text of {len(data)} bytes; at most {MAX_STRING_BYTES} are allowed")
    return data


def _array(id: int, text: str) -> MetadataValue:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, list) or len(items) > MAX_ARRAY_ITEMS:
        raise ValueError(f'{text!r:.80} is no array in JSON, such as [1, 2] or ["a", "b"]')
    return MetadataValue(ARRAY, ArraySpan(id, len(items), memoryview(b"".join(_item(id, item) for item in items))))


def _item(id: int, item: Any) -> bytes:
    """An item of an array as its bytes; JSON's true is no number."""
    if id == STRING and isinstance(item, str):
        data = _bytes(item)
        return struct.pack("<Q", len(data)) + data
    if isinstance(item, int | float) and isinstance(item, bool) == (id == BOOL) and id != STRING:
        if isinstance(item, int) or (id in FLOATS and math.isfinite(item)):
            return SCALARS[id][1].pack(_scalar(id, item).data)
    raise ValueError(f"{json.dumps(item)[:80]} in an array of {type_name(id)}")
