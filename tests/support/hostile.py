"""Cases of the hostile matrix: what a file holds that it should not, and the error that it ends in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFReader
from gguf_builder import ARR, BOOL, F32, I32, STR, U32, array, pair, u64
from tiny_models import write_model

from subbyte.errors import SubbyteError

Write = Callable[[Path], object]
"""Writes the hostile file at a path, and files beside it if it has any."""


@dataclass(frozen=True)
class FileCase:
    """A model file. number: section's letter and its place there. error: None if usable. says: words of the message."""

    number: str
    what: str
    write: Write
    error: type[SubbyteError] | None
    says: tuple[str, ...] = ()


def section(letter: str, cases: Iterable[tuple[Any, ...]]) -> list[FileCase]:
    """Numbers cases of (what, how to write the file, error, words of its message): append, never insert."""
    return [FileCase(f"{letter}{i:02}", *case[:3], case[3:]) for i, case in enumerate(cases, 1)]


def content(data: bytes) -> Write:
    return lambda path: path.write_bytes(data)


def model(arch: str = "llama", **options: Any) -> Write:
    """A tiny model; options are those of `write_model`, keys of the architecture among them."""
    return lambda path: write_model(path, arch, **options)


def metadata(changes: Mapping[str, Any], arch: str = "llama", **options: Any) -> Write:
    """A tiny model in whose file whole keys are replaced, added, or left out where None. Values as for `typed`."""

    def write(path: Path) -> None:
        write_model(path, arch, **options)
        change_metadata(path, changes)

    return write


def change_metadata(path: Path, changes: Mapping[str, Any]) -> None:
    """Writes a model's file anew with other metadata; the rest stays as it is."""
    raw, reader = path.read_bytes(), GGUFReader(path)
    pairs = {name: _bytes(field, raw) for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    for name, value in changes.items():
        pairs[name] = b"" if value is None else pair(name, *typed(value))
    kept = [data for data in pairs.values() if data]
    tensors = b"".join(_bytes(tensor.field, raw) for tensor in reader.tensors)
    head = raw[:8] + u64(len(reader.tensors)) + u64(len(kept)) + b"".join(kept) + tensors
    path.write_bytes(head + bytes(-len(head) % 32) + raw[reader.data_offset :])


def typed(value: Any) -> tuple[int, Any]:
    """The type and payload of a value: a list is an array of its first item's type, a tuple is these two already."""
    if isinstance(value, tuple):
        return value[0], value[1]
    if isinstance(value, list):
        types = {str: STR, bytes: STR, float: F32, int: I32, bool: BOOL}
        return ARR, array(types[type(value[0])] if value else STR, value)
    if isinstance(value, int) and not isinstance(value, bool):
        return (U32 if value >= 0 else I32), value
    return {str: STR, bytes: STR, bool: BOOL, float: F32}[type(value)], value


def _bytes(field: Any, raw: bytes) -> bytes:
    start: int = field.offset
    return raw[start : start + sum(int(part.nbytes) for part in field.parts)]
