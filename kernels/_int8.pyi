from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

Data: TypeAlias = Buffer | NDArray[Any]  # numpy declares its arrays as buffers from Python 3.12 on only

class Q8:
    """int8 activations of some tokens: q [n_tokens, k], scale [n_tokens, k / 32], sum [n_tokens, k / 16]."""

    q: NDArray[np.int8]
    scale: NDArray[np.float32]
    sum: NDArray[np.int16]
    n_tokens: int
    k: int
    def __init__(self, q: NDArray[np.int8], scale: NDArray[np.float32], sum: NDArray[np.int16]) -> None: ...

def quantize(isa: str, x: NDArray[np.float32]) -> Q8:
    """Activations x [n_tokens, k] as int8; k is a multiple of 32."""

def has_dot(isa: str, format: str) -> bool:
    """Whether a fused dot exists."""

def dot(isa: str, format: str, rows: Data, n_rows: int, x: Q8) -> NDArray[np.float32]:
    """Products of n_rows rows of blocks with the tokens of x, by the fused kernel: float32 [n_tokens, n_rows]."""

def fold(isa: str, format: str, row: Data) -> tuple[NDArray[Any], int, NDArray[Any], NDArray[Any]] | None:
    """Codes uint8 [k], bias, scales float32 [k / 256] and mins [k / 16] (nonsense where the format has none)
    of one row, folded; None where that can't be."""

def dot_codes(isa: str, format: str, rows: Data, n_rows: int, x: Q8) -> NDArray[np.float32]:
    """As dot for the first token of x, but by unpacking: float32 [n_rows]."""

def gemm(isa: str, format: str, rows: Data, n_rows: int, x: Q8) -> NDArray[np.float32]:
    """Products of rows of blocks with all tokens of x, as a prompt is computed: float32 [n_tokens, n_rows]."""
