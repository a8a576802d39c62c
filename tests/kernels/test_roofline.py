"""The loops that measure the machine's limits: they run, and refuse nonsense; what they measure is no test's matter."""

from __future__ import annotations

import math

import numpy as np
import pytest

from subbyte.kernels import bf16_peak, float_peak, int8_peak, isas, read_rate


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("isa", [None, *isas()])
def test_every_instruction_set_has_peaks(isa: str | None, n_threads: int) -> None:
    for peak in (int8_peak, float_peak, bf16_peak):
        assert 0 < peak(isa, n_threads, 1e-4) < math.inf


@pytest.mark.parametrize("n_bytes", [64, 1000, 1 << 20])
def test_memory_of_any_size_is_read(n_bytes: int) -> None:
    for n_threads in (1, 3):
        assert 0 < read_rate(np.ones(n_bytes, np.uint8), n_threads, 1e-4) < math.inf


def test_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match="unknown or not on this machine"):
        int8_peak("sse9")
    for n_threads in (0, 10_000):
        with pytest.raises(ValueError, match=rf"{n_threads} threads, allowed are 1\.\.256"):
            float_peak(None, n_threads)
    for seconds in (0.0, 1.5, math.nan):
        with pytest.raises(ValueError, match="allowed is up to 1"):
            int8_peak(None, seconds=seconds)
    with pytest.raises(ValueError, match="63 bytes to read"):
        read_rate(np.ones(63, np.uint8), 2)
    with pytest.raises(ValueError, match="a multiple of 8"):
        read_rate(np.ones(1000, np.uint8)[1:])
