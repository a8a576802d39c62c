"""The bytes that a GGUF file begins with: header, metadata and tensor table; values are written as they were read.

gguf-py's writer would decode them first, and refuse empty arrays and texts that are not UTF-8.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from subbyte.runtime.gguf.shard import MAGIC
from subbyte.runtime.gguf.tensors import TYPE_IDS
from subbyte.runtime.gguf.values import ARRAY, SCALARS, STRING, MetadataValue

VERSION = 3


@dataclass(frozen=True)
class Layout:
    """The bytes before the tensors' data, and where in the file each tensor begins, and the last one ends."""

    head: bytes
    offsets: tuple[int, ...]
    end: int


def lay_out(
    metadata: Mapping[str, MetadataValue], tensors: Iterable[tuple[str, tuple[int, ...], str, int]], alignment: int
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


def table_bytes(name: str, shape: tuple[int, ...]) -> int:
    """The bytes that a tensor takes in the head's table."""
    return 8 + len(name.encode()) + 4 + 8 * len(shape) + 4 + 8


def _payload(value: MetadataValue) -> bytes:
    if value.type == STRING:
        return _string(bytes(value.data))
    if value.type == ARRAY:
        return struct.pack("<IQ", value.data.element_type, value.data.count) + bytes(value.data.data)
    return SCALARS[value.type][1].pack(value.data)


def _string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data
