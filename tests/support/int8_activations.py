"""Activations for the int8 kernels, tame and awkward, and how exact products with them must be."""

import numpy as np
from blocks import Floats

BOUND = 4e-7  # of a product, relative to the sum of its magnitudes: test_int8.py says of what


def random_x(n_tokens: int, k: int) -> Floats:
    return np.random.default_rng(k).standard_normal((n_tokens, k), np.float32)


def awkward_activations() -> Floats:
    """[n, 64] with everything a float can be; the first group of each row is tame."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((40, 64)).astype(np.float32)
    x[1:] *= np.float32(10.0) ** rng.integers(-44, 38, (39, 1)).astype(np.float32)
    x[1, 32:] = 0
    x[2, 32:] = -0.0
    x[3, 32:] = 1e-45
    x[4, 32:] = np.ldexp(np.float32(1), -120)
    x[5, 32:] = np.nextafter(np.ldexp(np.float32(1), -120), np.float32(0))
    x[6, 32:] = np.finfo(np.float32).max
    x[7, 40], x[8, 63], x[9, 32] = np.nan, np.inf, -np.inf
    x[10, 32:] = np.arange(32) + 0.5  # ties, with a scale of 1
    x[10, 63] = 127
    x[11, 32:] = np.where(np.arange(32) % 2, 127, -127)
    x[:, :32] = rng.standard_normal((40, 32))
    return x
