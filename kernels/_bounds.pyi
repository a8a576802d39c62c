"""What the machine can do at this moment, all threads together. A benchmark measures it right beside its own figure:

    peak = int8_peak("avx2", n_threads=1)                     # multiply-adds a second
    memory = np.ones(256 << 20, np.uint8)                     # several times the last-level cache; make it once
    rate = read_rate(memory, n_threads=2, seconds=0.05)       # bytes a second

seconds: how long to measure, up to 1. Raises ValueError for an instruction set that this machine lacks and for
arguments out of range, ResourceError when no threads are to be had.
"""

import numpy as np
from numpy.typing import NDArray

def int8_peak(isa: str | None, n_threads: int = 1, seconds: float = 0.02) -> float:
    """Most int8 multiply-adds a second with an instruction set; None: the strongest, or what SUBBYTE_ISA names."""

def float_peak(isa: str | None, n_threads: int = 1, seconds: float = 0.02) -> float:
    """Most float32 multiply-adds a second."""

def bf16_peak(isa: str | None, n_threads: int = 1, seconds: float = 0.02) -> float:
    """Most bfloat16 multiply-adds a second; those of float32 where an instruction set has none of its own."""

def read_rate(memory: NDArray[np.uint8], n_threads: int = 1, seconds: float = 0.02) -> float:
    """Bytes a second read from memory. All of it is read once at least, however long that takes."""
