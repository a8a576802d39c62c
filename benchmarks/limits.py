"""What one core allows at this moment, in processor time, as the kernels are timed (kernels/measure/roofline.h)."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import numpy as np
from calibrated import Limit
from numpy.typing import NDArray

from subbyte.kernels import FORMATS, bf16_peak, float_peak, int8_peak, read_rate

SECONDS = 0.003  # of each look
MEMORY_BYTES = 256 << 20  # more than any last-level cache


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
    return _in_processor_time(lambda: read_rate(_memory(), seconds=SECONDS))


def multiply_adds(isa: str, format: str) -> Limit:
    """Multiply-adds a second of an instruction set: int8 for quantized formats, bf16 for BF16, else float."""
    peak = int8_peak if FORMATS[format].group else bf16_peak if format == "BF16" else float_peak
    return lambda: _in_processor_time(lambda: peak(isa, seconds=SECONDS))
