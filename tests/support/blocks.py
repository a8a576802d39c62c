"""Quantized rows for tests: random and adversarial blocks, what they mean in float64, memory with fences around it."""

import ctypes
import mmap
from collections.abc import Callable
from functools import cache

import gguf
import numpy as np
from numpy.typing import NDArray

from subbyte.kernels import FORMATS, Format, _testing, dequantize

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

QUANTIZED = [format for format in FORMATS.values() if format.group]

# Where a block holds its half-precision numbers; IQ1_M and MXFP4 have none.
HALVES = {
    **{name: [0] for name in "Q4_0 Q5_0 Q8_0 IQ4_NL IQ4_XS IQ1_S IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S".split()},
    **{name: [0, 2] for name in "Q4_1 Q5_1 Q4_K Q5_K".split()},
    **{"Q2_K": [80, 82], "Q3_K": [108], "Q6_K": [208], "TQ1_0": [52], "TQ2_0": [64]},
}


def set_scales(blocks: Bytes, format: Format, scales: Floats) -> Bytes:
    """Blocks [n, bytes] with the given numbers for scales [n, 1 or 2]; MXFP4 takes the power of two below |scale|."""
    for place, scale in zip(HALVES.get(format.name, []), scales.T, strict=False):
        blocks[:, place : place + 2] = scale.astype("<f2")[:, None].view(np.uint8)
    if format.name == "MXFP4":
        blocks[:, 0] = 128 + np.log2(np.maximum(np.abs(scales[:, 0]), 2.0**-40))
    if format.name == "IQ1_M":  # the scale's nibbles are the top ones of four 16-bit words
        words, half = blocks[:, 48:].view("<u2"), scales[:, 0].astype("<f2").view("<u2")
        for i in range(4):
            words[:, i] = (words[:, i] & 0x0FFF) | ((half >> (4 * i)) & 15) << 12
    return blocks


def random_rows(format: Format, n_rows: int, k: int, seed: int = 0) -> Bytes:
    """Flat rows of random blocks."""
    rng = np.random.default_rng(seed + format.id)
    n = n_rows * k // format.block_size
    blocks = rng.integers(0, 256, (n, format.block_bytes), dtype=np.uint8)
    return set_scales(blocks, format, rng.uniform(0.001, 0.1, (n, 2)).astype(np.float32)).reshape(-1)


def random_matrix(format: Format, n_rows: int, k: int) -> Bytes:
    """[n_rows, row bytes]: random weights of mean 0 and variance 1 / k, as near as the format's scales allow."""
    if not format.group:
        values = (np.random.default_rng(format.id).standard_normal((n_rows, k)) / k**0.5).astype(np.float32)
        return gguf.quantize(values, gguf.GGMLQuantizationType[format.name]).view(np.uint8)
    blocks = random_rows(format, n_rows, k).reshape(-1, format.block_bytes)

    def moments(scale: float, minimum: float) -> tuple[float, float]:
        scales = np.tile(np.array([scale, minimum], np.float32), (len(blocks), 1))
        w = dequantize(set_scales(blocks, format, scales), format.name)
        return float(w.mean()), float(w.std())

    two = len(HALVES.get(format.name, [])) == 2
    minimum = -moments(1, 0)[0] / moments(0, 1)[0] if two else 0.0
    scale = 1 / (moments(1, minimum)[1] * k**0.5)
    moments(scale, scale * minimum)
    return blocks.reshape(n_rows, -1)


@cache
def worst_blocks(format: Format) -> Bytes:
    """[3, bytes]: blocks of the greatest and of the smallest sum of weights, and (where it has both) of the greatest
    product and the greatest min. Scales are 1 or -1."""
    return np.stack([_worst_block(format, sign, scales) for sign, scales in ((1, (1, 1)), (-1, (1, 1)), (1, (1, -1)))])


def _worst_block(format: Format, sign: int, scales: tuple[int, int]) -> Bytes:
    """Each byte in turn takes the value that moves the sum furthest; from several beginnings, as each has dead ends."""
    two_scales = np.tile(np.array(scales, np.float32), (256, 1))
    best, furthest = np.empty(0, np.uint8), -np.inf
    for start in (0, 255, np.random.default_rng(0).integers(0, 256, format.block_bytes)):
        tries = np.zeros((256, format.block_bytes), np.uint8)
        tries[:] = start
        for i in range(format.block_bytes):
            tries[:, i] = np.arange(256)
            sums = sign * dequantize(set_scales(tries, format, two_scales), format.name).reshape(256, -1).sum(1)
            tries[:] = tries[sums.argmax()]
        if sums.max() > furthest:
            best, furthest = tries[0].copy(), sums.max()
    return best


def weights(format: Format, rows: Bytes, n_rows: int) -> tuple[Doubles, Doubles]:
    """W [n_rows, k] and the magnitude of its parts."""
    code, scale, minimum = _testing.unpack(rows, format.name, "scalar")
    product = (code.astype(np.float64) - format.bias).reshape(-1, format.group) * scale[:, None].astype(np.float64)
    offset = np.zeros((scale.size, 1)) if minimum is None else minimum[:, None].astype(np.float64)
    return (product - offset).reshape(n_rows, -1), (np.abs(product) + np.abs(offset)).reshape(n_rows, -1)


def values(x: _testing.Q8) -> Doubles:
    """[n_tokens, k]"""
    scaled: Doubles = x.q.astype(np.float64).reshape(x.n_tokens, -1, 32) * x.scale[:, :, None]
    return scaled.reshape(x.n_tokens, -1)


def token(x: _testing.Q8, t: int) -> _testing.Q8:
    return _testing.Q8(x.q[t : t + 1], x.scale[t : t + 1], x.sum[t : t + 1])


class Fenced:
    """Memory between two pages whose touch ends the process."""

    def __init__(self, size: int = 64 * mmap.PAGESIZE) -> None:
        self._memory = mmap.mmap(-1, size + 2 * mmap.PAGESIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        for page in (address, address + mmap.PAGESIZE + size):
            assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
        self._inside = np.frombuffer(self._memory, np.uint8)[mmap.PAGESIZE : mmap.PAGESIZE + size]

    def first(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """A copy whose first byte follows the fence."""
        return self._copy(self._inside[: x.nbytes], x)

    def last(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """A copy whose last byte is followed by the fence."""
        return self._copy(self._inside[self._inside.size - x.nbytes :], x)

    def odd(self, shift: int) -> Callable[[Bytes], NDArray[np.generic]]:
        """A copy at an address that is `shift` beyond a page's start."""
        return lambda x: self._copy(self._inside[shift : shift + x.nbytes], x)

    @staticmethod
    def _copy(place: Bytes, x: NDArray[np.generic]) -> NDArray[np.generic]:
        place[:] = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
        return place.view(x.dtype).reshape(x.shape)
