"""The roofline: peak bandwidth and multiply-add rates of this machine, measured beside each figure of a benchmark."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from subbyte.kernels import bf16_peak, float_peak, int8_peak, read_rate
from subbyte.runtime.machine import available_memory

READ_BYTES = 256 << 20  # at least; more than most last-level caches
SECONDS = 0.05  # each measurement


@dataclass(frozen=True)
class Roofline:
    """Peaks of all threads together, per second: bytes read from memory, multiply-adds of int8, float and bf16."""

    bandwidth: float
    int8_macs: float
    float_macs: float
    bf16_macs: float


def combine(all: Sequence[Roofline], by: Callable[[Iterable[float]], float]) -> Roofline:
    """The greatest, or the median, of several measurements."""
    return Roofline(*map(by, zip(*map(astuple, all), strict=True)))


class RooflineProbe:
    """Measures the roofline of this machine with one instruction set, about 0.2 s each time."""

    def __init__(self, isa: str) -> None:
        self._isa = isa
        self._memory = np.ones(_read_bytes(), np.uint8)

    def bandwidth(self, n_threads: int) -> float:
        """Bytes a second that n_threads threads read from memory, now."""
        return read_rate(self._memory, n_threads, SECONDS)

    def measure(self, n_threads: int) -> Roofline:
        """The roofline of n_threads threads, now."""
        return Roofline(
            self.bandwidth(n_threads),
            int8_peak(self._isa, n_threads, SECONDS),
            float_peak(self._isa, n_threads, SECONDS),
            bf16_peak(self._isa, n_threads, SECONDS),
        )


def _read_bytes() -> int:
    """How much to read to measure memory: several times the last-level cache, but no more than may be taken."""
    try:
        cache = os.sysconf("SC_LEVEL3_CACHE_SIZE")
    except (ValueError, OSError):  # the system does not tell
        cache = 0
    return min(max(READ_BYTES, 4 * cache), available_memory() // 4)
