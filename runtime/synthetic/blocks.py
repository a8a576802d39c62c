"""Random blocks of every format whose weights are sane numbers: codes at random, scales set to one value.

Speed does not depend on what blocks hold, but a model of wild numbers would run into infinity.
"""

import numpy as np
from numpy.typing import NDArray

from subbyte.kernels import FORMATS, dequantize

Blocks = NDArray[np.uint8]
PLAIN = ("F32", "F16", "BF16")

# Where the half-precision scales of a block lie; kernels/formats/blocks.h draws the bytes.
_SCALES = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q2_K": (80, 82), "Q3_K": (108,),
    "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "IQ2_XXS": (0,), "IQ2_XS": (0,), "IQ2_S": (0,), "IQ3_XXS": (0,),
    "IQ3_S": (0,), "IQ1_S": (0,), "IQ4_NL": (0,), "IQ4_XS": (0,), "TQ1_0": (52,), "TQ2_0": (64,),
}  # fmt: skip


def random_blocks(format: str, n_blocks: int, rms: float, rng: np.random.Generator) -> Blocks:
    """uint8 [n_blocks, bytes of a block] whose weights have this root mean square (MXFP4: the nearest power of two).

    Each block's scales have a sign of their own, so that the weights of a format with lopsided codes average zero, too.
    """
    f = FORMATS[format]
    if format in PLAIN:
        return _plain(format, rng.standard_normal((n_blocks, f.block_size), np.float32) * np.float32(rms))
    blocks = rng.integers(0, 256, (n_blocks, f.block_bytes), np.uint8)
    signs = rng.integers(0, 2, (n_blocks, 2), np.uint16) * np.uint16(0x8000)
    _set_scales(format, blocks, 1.0, signs)
    found = float(np.sqrt(np.mean(np.square(dequantize(blocks, format), dtype=np.float64))))
    _set_scales(format, blocks, rms / found, signs)
    return blocks


def _plain(format: str, values: NDArray[np.float32]) -> Blocks:
    if format == "F32":
        return values.view(np.uint8)
    if format == "F16":
        return values.astype(np.float16).view(np.uint8)
    return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)


def _set_scales(format: str, blocks: Blocks, scale: float, signs: NDArray[np.uint16]) -> None:
    """Sets all scales in place. signs: the sign bits of each block's first and second one."""
    if format == "MXFP4":  # an exponent: 127 stands for 1
        blocks[:, 0] = 127 + round(np.log2(scale))
        return
    halves = np.array(scale, np.float16).view(np.uint16) | signs
    if format == "IQ1_M":  # four bits of the one half in the top of each of four 16-bit numbers
        for i in range(4):
            blocks[:, 49 + 2 * i] = blocks[:, 49 + 2 * i] & 0x0F | (halves[:, 0] >> 4 * i & 0xF).astype(np.uint8) << 4
        return
    for i, at in enumerate(_SCALES[format]):
        blocks[:, at : at + 2] = halves[:, i : i + 1].copy().view(np.uint8)
