"""Metadata given by the user in place of the file's: what llama.cpp calls `--override-kv`."""

import logging
import math
import struct
from collections.abc import Mapping

from subbyte.runtime.gguf.metadata import Metadata
from subbyte.runtime.gguf.values import BOOL, FLOATS, INTEGERS, SCALARS, STRING, MetadataValue
from subbyte.runtime.text import quoted

I64, U64, F64 = 11, 10, 12
TYPES = ("int", "float", "bool", "str")
STRUCTURE = ("split.", "general.alignment", "GGUF.")  # of the file itself, the last gguf-py's names for its header

_log = logging.getLogger(__name__)


def parse_override(text: str) -> tuple[str, int | float | bool | str]:
    """Key and value of `KEY=TYPE:VALUE`. Raises ValueError for anything else."""
    key, equals, typed = text.partition("=")
    type, colon, value = typed.partition(":")
    if not (key and equals and colon) or type not in TYPES:
        raise ValueError(f"{text!r:.120} is no KEY=TYPE:VALUE with a TYPE of {', '.join(TYPES)}")
    try:
        if type == "bool":
            return key, {"true": True, "false": False}[value]
        return key, value if type == "str" else int(value) if type == "int" else float(value)
    except (ValueError, KeyError):
        allowed = "true or false" if type == "bool" else "a whole number" if type == "int" else "a number"
        raise ValueError(f"{key}: {value!r:.80} is no {type}; allowed is {allowed}") from None


def override(metadata: Metadata, values: Mapping[str, int | float | bool | str]) -> Metadata:
    """`metadata` with other values for some keys. Raises ValueError for what no value can be, or can't be changed."""
    entries = dict(metadata.entries)
    for key, value in values.items():
        if not isinstance(key, str) or not key:
            raise ValueError(f"override_kv has the key {key!r:.80}, but keys are texts such as 'llama.context_length'")
        if key.startswith(STRUCTURE):
            raise ValueError(f"override_kv: {key} says how the file is built: it can't be another")
        if key not in entries:
            _log.info("%s: has no metadata %s: it is added", metadata.file, quoted(key))
        entries[key] = _like(entries.get(key), _entry(key, value))
    return Metadata(metadata.file, entries)


def _like(was: MetadataValue | None, entry: MetadataValue) -> MetadataValue:
    """A number in the type that the key has in the file, where that holds it: readers may know no other."""
    same = was is not None and any(was.type in kind and entry.type in kind for kind in (INTEGERS, FLOATS))
    if was is None or not same:
        return entry
    codec = SCALARS[was.type][1]
    try:
        (data,) = codec.unpack(codec.pack(entry.data))
    except (struct.error, OverflowError):
        return entry
    return MetadataValue(was.type, data)


def _entry(key: str, value: int | float | bool | str) -> MetadataValue:
    if isinstance(value, bool):
        return MetadataValue(BOOL, value)
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 64:
        return MetadataValue(I64 if value < 0 else U64, value)
    if isinstance(value, float) and math.isfinite(value):
        return MetadataValue(F64, value)
    if isinstance(value, str):
        return MetadataValue(STRING, value.encode("utf-8", "replace"))
    raise ValueError(
        f"override_kv: {key} is {value!r:.80}, but must be a bool, a 64-bit integer, a finite number or a text"
    )
