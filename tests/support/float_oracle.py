"""What the float kernels should give, in float64 numpy, with bounds on what float32 may make of it, and their inputs.

`U` is the unit roundoff of float32: half the distance from 1 to the next float. Bounds on sums are multiples of U times
the sum of the absolute products, since that is what rounding errors scale with.
"""

from dataclasses import dataclass

import numpy as np
from blocks import Bytes, Doubles, Floats
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray

U = 2.0**-24
SUBNORMAL = 2.0**-126  # results below this may lose digits, or be flushed where exp underflows


def normal(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.standard_normal(shape, dtype=np.float32)


def sum_bound(k: int) -> float:
    """Of a sum of k products in float32, relative to the sum of their magnitudes."""
    return U * (4 + 2 * k**0.5)


def stored(x: Floats, format: str) -> tuple[NDArray[np.uint8], Doubles]:
    """x as a file stores it, and what those bytes mean."""
    if format == "F32":
        return x.reshape(-1).view(np.uint8), x.astype(np.float64)
    if format == "F16":
        half = x.astype(np.float16)
        return half.reshape(-1).view(np.uint8), half.astype(np.float64)
    high = (np.ascontiguousarray(x).view(np.uint32) >> 16).astype(np.uint16)
    return high.reshape(-1).view(np.uint8), (high.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def gates() -> Floats:
    rng = np.random.default_rng(7)
    spread = rng.choice([-1, 1], 20_000) * 10 ** rng.uniform(-30, 2.5, 20_000)
    return np.concatenate([np.linspace(-110, 110, 50_001), spread, [0, -0.0, 1e30, -1e30]]).astype(np.float32)


def visible(pos: int, window: int) -> slice:
    return slice(max(0, pos - window + 1) if window else 0, pos + 1)


def clamped_silu(gate: Floats, up: Floats) -> tuple[Doubles, Doubles]:
    """The gated unit of gpt-oss in float64, and the bound on what float32 may make of it."""
    g, u = np.minimum(gate.astype(np.float64), 7), np.clip(up.astype(np.float64), -7, 7)
    x = np.float64(np.float32(1.702)) * g
    with np.errstate(over="ignore"):
        out = g / (1 + np.exp(-x)) * (u + 1)
    # An error of x is one of exp(-x) times x, while exp(-x) counts; where it overflows, the result is 0.
    error = (8 + 4 * np.clip(-x, 0, 104)) * U * np.abs(out) + 2 * U * np.abs(g) / (1 + np.exp(-np.clip(x, -90, 90)))
    return out, error + 256 * SUBNORMAL * (1 + np.abs(u))


def attention(
    q: Floats, k: Floats, v: Floats, keys: slice, scale: float, softcap: float = 0
) -> tuple[Doubles, Doubles]:
    """Attention of one token, q [n_head, head_dim], in float64; and the bound on what float32 may make of it."""
    q64, k64, v64 = q.astype(np.float64), k[keys].astype(np.float64), v[keys].astype(np.float64)
    scores = q64 @ k64.T * scale
    # An error of a score is a relative error of its weight; subnormal weights may be lost.
    score_error = sum_bound(q.shape[1]) * np.abs(q64) @ np.abs(k64.T) * scale + 4 * U * np.abs(scores)
    if softcap:
        scores = softcap * np.tanh(scores / softcap)
        score_error += 8 * U * np.abs(scores)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    relative = 2 * np.minimum(score_error.max(axis=1, keepdims=True), 1) + sum_bound(k64.shape[0]) + 8 * U
    return weights @ v64, relative * (weights @ np.abs(v64)) + SUBNORMAL * np.abs(v64).sum(axis=0)


@dataclass
class Cache:
    """Keys and values of one KV head: their rows in the cache, uint8 [n_ctx, bytes], and what these hold."""

    format: str
    k_rows: Bytes
    v_rows: Bytes
    k: Floats
    v: Floats


def rows_of(x: Floats, format: str) -> tuple[Bytes, Floats]:
    """x [n, head_dim] as rows of the cache, and the values that these hold."""
    if format == "Q8_0":
        padded = np.pad(x, ((0, 0), (0, -x.shape[1] % 32)))
        rows = quantize(padded, GGMLQuantizationType.Q8_0)
        return rows, np.ascontiguousarray(dequantize(rows, GGMLQuantizationType.Q8_0)[:, : x.shape[1]])
    stored = x.astype(np.float16) if format == "F16" else x
    return stored.view(np.uint8), stored.astype(np.float32)


def cache_of(k: Floats, v: Floats, format: str) -> Cache:
    (k_rows, k), (v_rows, v) = rows_of(k, format), rows_of(v, format)
    return Cache(format, k_rows, v_rows, k, v)


def cache(rng: np.random.Generator, n_ctx: int, head_dim: int, format: str) -> Cache:
    return cache_of(normal(rng, n_ctx, head_dim), normal(rng, n_ctx, head_dim), format)
