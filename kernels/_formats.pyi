from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

Data: TypeAlias = Buffer | NDArray[Any]  # numpy declares its arrays as buffers from Python 3.12 on only

def formats() -> list[tuple[str, int, int, int, int, int, int]]:
    """The rows of formats.def: name, id, block size, block bytes, group, bias, max code."""

def dequantize(data: Data, format: str, isa: str | None = None) -> NDArray[np.float32]:
    """All weights of `data` with the kernels of `isa`; None takes the strongest, or what SUBBYTE_ISA names."""

def unpack(
    data: Data, format: str, isa: str | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32] | None]:
    """Codes [n], scales [n / group] and mins [n / group] of the n weights in `data`; mins only if the bias is 0."""

def codebooks() -> dict[str, NDArray[np.unsignedinteger | np.signedinteger]]:
    """The tables of codebooks.h as arrays, by name."""
