"""Samples of a kernel's speed between two looks at what the core does at that moment.

Clocks change, and a virtual machine shares its core and its memory with others. So each sample stands between two
calibrations: the clock of the core, by a chain of additions that take a cycle each, and a limit of the machine that the
kernel is held against. A sample whose calibrations differ by more than 3 % before and after is discarded.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import median

import numpy as np
from numpy.typing import NDArray

from subbyte.kernels import FORMATS, _testing, bf16_peak, float_peak, int8_peak, read_rate

TOLERANCE = 0.03
CALIBRATION_CYCLES = 2_000_000
SAMPLE_SECONDS = 0.01
MAX_TRIES = 4  # times the samples wanted
LIMIT_SECONDS = 0.003  # of each look at a limit
MEMORY_BYTES = 256 << 20  # more than any last-level cache

Limit = Callable[[], float]
"""The rate that the machine allows now, in the unit of the kernel's work per second."""


@dataclass(frozen=True)
class Speed:
    """Medians of the samples that were kept, None if none was: of one run's work."""

    seconds: float | None  # of processor time
    cycles: float | None
    share: float | None  # of the limit; None without one
    kept: int
    discarded: int


def hertz() -> float:
    """The core's clock now."""
    return CALIBRATION_CYCLES / _testing.time_cycles(CALIBRATION_CYCLES)


def steady(before: float, after: float) -> bool:
    return abs(after / before - 1) <= TOLERANCE


def measure(run: Callable[[int], float], work: float, limit: Limit | None, n_samples: int) -> Speed:
    """run(repeat) does `work` so often and returns its processor seconds."""
    repeat = max(1, round(SAMPLE_SECONDS / max(run(1), 1e-9)))
    seconds: list[float] = []
    cycles: list[float] = []
    shares: list[float] = []
    discarded = 0
    while len(seconds) < n_samples and len(seconds) + discarded < MAX_TRIES * n_samples:
        before, allowed = hertz(), limit() if limit else 1.0
        took = run(repeat) / repeat
        still_allowed, after = limit() if limit else 1.0, hertz()
        if not steady(before, after) or not steady(allowed, still_allowed):
            discarded += 1
            continue
        seconds.append(took)
        cycles.append(took * (before + after) / 2)
        shares.append(work / took / ((allowed + still_allowed) / 2))
    if not seconds:
        return Speed(None, None, None, 0, discarded)
    return Speed(median(seconds), median(cycles), median(shares) if limit else None, len(seconds), discarded)


@cache
def _memory() -> NDArray[np.uint8]:
    return np.ones(MEMORY_BYTES, np.uint8)


def _in_processor_time(measure: Callable[[], float]) -> float:
    """A rate by the clock as one by this thread's processor time."""
    start, used = time.perf_counter(), time.thread_time()
    rate = measure()
    return rate * (time.perf_counter() - start) / (time.thread_time() - used)


def read_bandwidth() -> float:
    """Bytes a second that one core reads from memory."""
    return _in_processor_time(lambda: read_rate(_memory(), seconds=LIMIT_SECONDS))


def multiply_adds(isa: str, format: str) -> Limit:
    """Multiply-adds a second of an instruction set: int8 for quantized formats, bf16 for BF16, else float."""
    peak = int8_peak if FORMATS[format].group else bf16_peak if format == "BF16" else float_peak
    return lambda: _in_processor_time(lambda: peak(isa, seconds=LIMIT_SECONDS))
