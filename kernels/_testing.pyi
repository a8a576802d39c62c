"""Types of the kernels one by one, for tests and benchmarks; not part of an installation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.kernels._native import Data

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Halves = NDArray[np.uint16]

def unpack(
    data: Data, format: str, isa: str | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32] | None]:
    """Codes [n], scales [n / group] and mins [n / group] of the n weights in `data`; mins only if the bias is 0."""

def codebooks() -> dict[str, NDArray[np.unsignedinteger | np.signedinteger]]:
    """The tables of codebooks.h as arrays, by name."""

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

def fold(isa: str, format: str, row: Data) -> tuple[NDArray[Any], int, NDArray[Any]] | None:
    """Codes uint8 [k], their bias and factors float32 [k / 256] of one row, folded; None where that can't be."""

def dot_codes(isa: str, format: str, rows: Data, n_rows: int, x: Q8) -> NDArray[np.float32]:
    """As dot for the first token of x, but by unpacking: float32 [n_rows]."""

def gemm(isa: str, format: str, rows: Data, n_rows: int, x: Q8) -> NDArray[np.float32]:
    """Products of rows of blocks with all tokens of x, as a prompt is computed: float32 [n_tokens, n_rows]."""

def lanes(isa: str) -> int: ...
def dot_float(isa: str, format: str, rows: Bytes, x: Floats, out: Floats) -> None: ...
def pack_float(isa: str, x: Floats, out: Floats) -> None: ...
def gemm_float(isa: str, rows: Floats, x: Floats, out: Floats) -> None: ...
def has_bf16(isa: str) -> bool: ...
def pack_bf16(isa: str, x: Floats, out: Halves) -> None: ...
def dot_bf16(isa: str, rows: Bytes, x: Floats, out: Floats) -> None: ...
def gemm_bf16(isa: str, rows: NDArray[np.uint8], x: Floats, out: Floats) -> None: ...
def f16_to_float(isa: str, x: Halves, out: Floats) -> None: ...
def float_to_f16(isa: str, x: Floats, out: Halves) -> None: ...
def rms_norm(isa: str, x: Floats, weight: Floats, eps: float, out: Floats) -> None: ...
def rope(isa: str, head: Floats, cos: Floats, sin: Floats, interleaved: bool) -> None: ...
def silu_mul(isa: str, gate: Floats, up: Floats, out: Floats) -> None: ...
def gelu_mul(isa: str, gate: Floats, up: Floats, out: Floats) -> None: ...
def relu_mul(isa: str, gate: Floats, up: Floats, out: Floats) -> None: ...
def clamped_silu_mul(isa: str, gate: Floats, up: Floats, out: Floats) -> None: ...
def sigmoid_mul(isa: str, gate: Floats, x: Floats, out: Floats) -> None: ...
def add(isa: str, x: Floats, y: Floats) -> None: ...
def scale(isa: str, x: Floats, s: float) -> None: ...
def max_sum_exp(isa: str, x: Floats) -> tuple[float, float]: ...
def divergence(isa: str, x: Floats, log_sum_x: float, y: Floats, log_sum_y: float) -> tuple[float, float, float]: ...
def attention_decode(
    isa: str,
    format: str,
    q: Floats,
    k: Bytes,
    v: Bytes,
    first: int,
    last: int,
    scale: float,
    part: Floats,
    softcap: float = 0,
) -> None: ...
def attention_prefill(
    isa: str,
    format: str,
    q: Floats,
    k: Bytes,
    v: Bytes,
    pos0: int,
    window: int,
    first: int,
    last: int,
    scale: float,
    part: Floats,
    softcap: float = 0,
) -> None: ...
def combine_splits(isa: str, parts: Floats, out: Floats) -> None: ...
def convolve(isa: str, rows: Floats, weight: Floats, bias: Floats | None, out: Floats) -> None: ...
def state_floats(n_keys: int, n_values: int) -> int:
    """Floats of a head's state, as linear_attention takes it."""

def linear_attention(
    isa: str,
    q: Floats,
    k: Floats,
    v: Floats,
    decay: Floats,
    rate: Floats,
    delta: bool,
    state: Floats,
    out: Floats,
    repeat: int = 1,
) -> None:
    """The kernel, so often; state: see state_floats, aligned to 64 bytes."""

def time_product(isa: str, format: str, data: Bytes, rows: int, x: Floats, repeat: int = 1) -> tuple[float, Floats]:
    """Seconds to compute out [n_tokens, rows] = x [n_tokens, cols] times the transposed weights so often, and out."""

def time_unpack(isa: str, format: str, data: Bytes, rows: int, cols: int, repeat: int = 1) -> float:
    """Seconds to unpack all rows of a quantized format `repeat` times."""

def time_cycles(n: int) -> float:
    """Seconds that n cycles of the core take now."""
