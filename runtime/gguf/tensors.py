"""The tensor table of a GGUF file: every extent is proved to lie inside the file before a view of it is made."""

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from subbyte.errors import UnsupportedError
from subbyte.kernels import FORMATS
from subbyte.runtime.gguf.cursor import DAMAGED, Cursor
from subbyte.runtime.text import quoted

MAX_TENSORS = 1 << 16
MAX_NAME_BYTES = 63
MAX_DIMS = 4
MIN_INFO_BYTES = 8 + 1 + 4 + 8 + 4 + 8  # name length, shortest name, n_dims, one dimension, type, offset

# By ggml type id: name, weights a block, bytes a block. What subbyte computes with, and the types it can only name: a
# file may hold those (a model that needs such a tensor refuses it), so their sizes are checked too.
_TYPES = {f.id: (name, f.block_size, f.block_bytes) for name, f in FORMATS.items()}
_NAMED_ONLY = {
    9: ("Q8_1", 32, 36),
    15: ("Q8_K", 256, 292),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}
TYPE_IDS = {name: id for id, (name, *_) in {**_TYPES, **_NAMED_ONLY}.items()}
"""ggml's type ids by the types' names."""
_REMOVED = {4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8",
            36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8"}  # fmt: skip
# Those of ik_llama.cpp alone; its packings of common types for certain processors have ids of their own from 97 up.
_IK_TYPES = {133: "Q6_0", 134: "IQ1_BN", 135: "IQ2_BN", 137: "IQ2_K", 138: "IQ3_K", 139: "IQ4_K", 140: "IQ5_K",
             141: "IQ6_K", 144: "IQ4_KS", 145: "IQ2_KS", 146: "IQ4_KSS", 152: "IQ5_KS", 153: "IQ2_KT", 154: "IQ3_KT",
             155: "IQ4_KT", 156: "IQ3_KS", 157: "IQ2_KL", 158: "IQ1_KT"}  # fmt: skip
_FIRST_IK_TYPE = 97


@dataclass(frozen=True, eq=False, slots=True)
class TensorInfo:
    """One tensor, mapped.

    shape: in GGUF order, shape[0] is the row length
    type:  the block type's name ("Q4_K"); maybe one that subbyte can't compute with
    data:  its bytes in the file, read-only, rows one after another
    file:  the file that holds it: one of several parts, maybe
    """

    name: str
    shape: tuple[int, ...]
    type: str
    n_bytes: int
    data: memoryview
    file: str

    @property
    def n_weights(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


class Size(NamedTuple):
    """Bytes and weights of tensors together."""

    n_bytes: int
    n_weights: int

    @property
    def bits_per_weight(self) -> float | None:
        """Scales included; None without weights."""
        return 8 * self.n_bytes / self.n_weights if self.n_weights else None


def size_of(tensors: Iterable[TensorInfo]) -> Size:
    """The size of several tensors together."""
    tensors = list(tensors)
    return Size(sum(t.n_bytes for t in tensors), sum(t.n_weights for t in tensors))


class _Entry(NamedTuple):
    """A line of the table: `offset` counts from the start of the data section, `at` is where the file says so."""

    name: str
    shape: tuple[int, ...]
    type: str
    n_bytes: int
    offset: int
    at: int


def read_tensors(cursor: Cursor, n_tensors: int, alignment: int) -> dict[str, TensorInfo]:
    """Reads the tensor table from the cursor on and maps the tensors; the cursor ends up after the last one.

    Tensors lie in the table's order, each at a multiple of `alignment`; gaps between them are allowed. Raises
    FormatError, and UnsupportedError for a block type that is not known.
    """
    table: dict[str, _Entry] = {}
    for i in range(n_tensors):
        start, cursor.place = cursor.pos, f"tensor {i + 1} of {n_tensors}"
        name = cursor.name("the name", MAX_NAME_BYTES)
        if name in table:
            raise cursor.error(f"name {quoted(name)} occurs twice; {DAMAGED}", start)
        cursor.place = f"tensor {quoted(name)}"
        table[name] = _read_entry(cursor, name)
    if not table:
        return {}
    data_start = -cursor.pos % alignment + cursor.pos
    end = data_start
    tensors = {}
    for entry in table.values():
        cursor.place = f"tensor {quoted(entry.name)}"
        start = data_start + entry.offset
        _check_extent(cursor, entry, start, end, alignment)
        end = start + entry.n_bytes
        tensors[entry.name] = TensorInfo(*entry[:4], cursor.data[start:end], cursor.file)
    cursor.pos = end
    return tensors


def _read_entry(cursor: Cursor, name: str) -> _Entry:
    n_dims = cursor.u32("the number of dimensions")
    if not 1 <= n_dims <= MAX_DIMS:
        raise cursor.error(f"it has {n_dims} dimensions, 1 to {MAX_DIMS} are allowed; {DAMAGED}", cursor.pos - 4)
    shape = cursor.unpack(struct.Struct(f"<{n_dims}Q"), "the shape")
    if not all(0 < n < 1 << 63 for n in shape):
        problem = f"its shape is {list(shape)}, from 1 to 2^63 - 1 is allowed; {DAMAGED}"
        raise cursor.error(problem, cursor.pos - 8 * n_dims)
    type_id = cursor.u32("the block type")
    if type_id not in _TYPES and type_id not in _NAMED_ONLY:
        raise cursor.error(_unknown_type(type_id), cursor.pos - 4, UnsupportedError)
    type_name, block_size, block_bytes = _TYPES.get(type_id) or _NAMED_ONLY[type_id]
    if shape[0] % block_size:
        problem = f"its rows have {shape[0]} weights, {type_name} needs a multiple of {block_size}; {DAMAGED}"
        raise cursor.error(problem, cursor.pos - 4)
    # Python integers: the product of any four dimensions is exact.
    n_bytes = math.prod(shape) // block_size * block_bytes
    at = cursor.pos
    return _Entry(name, shape, type_name, n_bytes, cursor.u64("the offset"), at)


def _check_extent(cursor: Cursor, entry: _Entry, start: int, previous_end: int, alignment: int) -> None:
    end = start + entry.n_bytes
    if entry.offset % alignment:
        problem = f"its offset {entry.offset} is not a multiple of the alignment {alignment}"
    elif start < previous_end:
        problem = f"it starts at byte {start}, but the tensor listed before it ends at {previous_end}"
    elif end > cursor.size:
        shape = list(entry.shape)
        problem = f"{entry.type} of shape {shape} fills bytes {start} to {end}, the file ends at {cursor.size}"
    else:
        return
    raise cursor.error(f"{problem}; {DAMAGED}", entry.at)


def _unknown_type(type_id: int) -> str:
    found = f"block type {type_id}"
    if type_id in _REMOVED:
        found += f" ({_REMOVED[type_id]}) was removed from GGUF"
    elif type_id >= _FIRST_IK_TYPE:
        found += f" ({_IK_TYPES.get(type_id, f'{_FIRST_IK_TYPE} or more')}) is none of GGUF's but ik_llama.cpp's own"
    else:
        found += " is unknown"
    return f"{found}; allowed are {', '.join(FORMATS)}: quantize the original model again"
