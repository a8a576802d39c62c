"""The maths in C: block formats, matrix products, attention; nothing of models.

`FORMATS` tells what blocks of each format look like, `dequantize` turns them into numbers. A `Plan` is a model's
forward pass, an `Engine` runs it over a `Cache`. `read_rate` and the peaks tell the machine's limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from subbyte.kernels import _native
from subbyte.kernels._native import (
    MAX_CTX,
    MAX_THREADS,
    Cache,
    Comparison,
    Engine,
    MappedFile,
    Plan,
    TryLock,
    Weight,
    best_isa,
    bf16_peak,
    compare_logits,
    draw_tokens,
    float_peak,
    int8_peak,
    isas,
    mask_logits,
    read_rate,
    token_ids,
    top_k,
    top_logprobs,
)
from subbyte.kernels.operation import Operation, OperationCost

if TYPE_CHECKING:
    from subbyte.kernels._native import Data

__all__ = [
    "FORMATS",
    "MAX_CTX",
    "MAX_THREADS",
    "Cache",
    "Comparison",
    "Engine",
    "Format",
    "MappedFile",
    "Operation",
    "OperationCost",
    "Plan",
    "TryLock",
    "Weight",
    "best_isa",
    "bf16_peak",
    "compare_logits",
    "dequantize",
    "draw_tokens",
    "float_peak",
    "int8_peak",
    "isas",
    "mask_logits",
    "read_rate",
    "token_ids",
    "top_k",
    "top_logprobs",
]  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A block format of GGUF. A quantized weight is `(code - bias) * scale - min`, with a min only if the bias is 0."""

    name: str
    id: int  # ggml type id, as a GGUF file stores it
    block_size: int  # weights in a block
    block_bytes: int  # bytes in a block
    group: int  # weights that share a scale: 16, 32, or 0 for plain floating-point numbers
    bias: int  # what is added to make a code unsigned
    max_code: int  # greatest code a block can hold

    @property
    def bits_per_weight(self) -> float:
        """Size in the file, scales included."""
        return 8 * self.block_bytes / self.block_size


FORMATS: Mapping[str, Format] = MappingProxyType({row[0]: Format(*row) for row in _native.formats()})
"""Every format subbyte computes with, by its GGUF name such as "Q4_K"; the C list kernels/formats/formats.def."""


def dequantize(data: "Data", format: str) -> NDArray[np.float32]:
    """The weights of whole blocks as a new float32 array [n], bit for bit as gguf-py dequantizes them.

    `data` is any contiguous buffer (bytes, memoryview, array), n its number of blocks times the block size. A tensor's
    shape in the file begins with the row length, so `.reshape(shape[::-1])` gives its rows.

    Raises ValueError for an unknown format and for a size that is not a whole number of blocks, ModelChanged where the
    blocks lie in a mapped file that was cut short.
    """
    return _native.dequantize(data, format)
