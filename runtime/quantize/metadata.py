"""What a GGUF file begins with, made from another file's metadata: values are copied as the bytes they are.

gguf-py's writer would decode them first, and refuse empty arrays and texts that are not UTF-8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from subbyte.runtime.gguf.shard import MAGIC
from subbyte.runtime.gguf.tensors import TYPE_IDS
from subbyte.runtime.gguf.values import ARRAY, SCALARS, STRING, Value
from subbyte.runtime.imatrix.imatrix import Imatrix

VERSION = 3
QUANTIZATION_VERSION = 2  # of the block formats, as ggml counts
U32 = 4
SPLIT = ("split.no", "split.count", "split.tensors.count")
IMATRIX = "quantize.imatrix."


@dataclass(frozen=True)
class Layout:
    """The bytes before the tensors' data, and where in the file each tensor begins, and the last one ends."""

    head: bytes
    offsets: tuple[int, ...]
    end: int


def quantized(
    metadata: Mapping[str, Value], file_type: str, imatrix: Imatrix | None, imatrix_name: str
) -> dict[str, Value]:
    """A model's metadata with what llama-quantize changes. file_type: a name that it knows."""
    from gguf import LlamaFileType

    number = LlamaFileType["ALL_F32" if file_type == "F32" else f"MOSTLY_{file_type}"]
    kept = {key: value for key, value in metadata.items() if key not in SPLIT and not key.startswith(IMATRIX)}
    kept["general.quantization_version"] = Value(U32, QUANTIZATION_VERSION)
    kept["general.file_type"] = Value(U32, int(number))
    if imatrix is not None:
        kept[f"{IMATRIX}file"] = _text(imatrix_name)
        if imatrix.datasets:
            kept[f"{IMATRIX}dataset"] = _text(imatrix.datasets[0])
        kept[f"{IMATRIX}entries_count"] = Value(U32, len(imatrix.squares))
        if imatrix.chunk_count:
            kept[f"{IMATRIX}chunks_count"] = Value(U32, imatrix.chunk_count)
    return kept


def lay_out(
    metadata: Mapping[str, Value], tensors: Iterable[tuple[str, tuple[int, ...], str, int]], alignment: int
) -> Layout:
    """The head of a file. tensors: name, shape (row length first), block type, bytes; in the order of the file."""
    tensors = list(tensors)
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts.append(_string(key.encode()) + struct.pack("<I", value.type) + _payload(value))
    offsets, end = [], 0
    for name, shape, type, n_bytes in tensors:
        parts.append(_string(name.encode()) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        parts.append(struct.pack("<IQ", TYPE_IDS[type], end))
        offsets.append(end)
        end += n_bytes + -n_bytes % alignment
    head = b"".join(parts)
    head += bytes(-len(head) % alignment)
    return Layout(head, tuple(len(head) + offset for offset in offsets), len(head) + end)


def _payload(value: Value) -> bytes:
    if value.type == STRING:
        return _string(bytes(value.data))
    if value.type == ARRAY:
        return struct.pack("<IQ", value.data.element_type, value.data.count) + bytes(value.data.data)
    return SCALARS[value.type][1].pack(value.data)


def _text(value: str) -> Value:
    return Value(STRING, memoryview(value.encode("utf-8", "replace")))


def _string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data
