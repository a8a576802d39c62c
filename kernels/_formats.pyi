from typing_extensions import Buffer

import numpy as np
from numpy.typing import NDArray

def formats() -> list[tuple[str, int, int, int, int, int, int]]:
    """The rows of formats.def: name, id, block size, block bytes, group, bias, max code."""

def isas() -> list[str]:
    """Instruction sets this machine can run, weakest first; "scalar" is always there."""

def dequantize(data: Buffer, format: str, isa: str | None = None) -> NDArray[np.float32]:
    """All weights of `data` with the kernels of `isa`; None takes the strongest, or what SUBBYTE_ISA names."""

def unpack(
    data: Buffer, format: str, isa: str | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32] | None]:
    """Codes [n], scales [n / group] and mins [n / group] of the n weights in `data`; no mins where the bias is not 0."""

def codebooks() -> dict[str, NDArray[np.unsignedinteger | np.signedinteger]]:
    """The tables of codebooks.h as arrays, by name."""
