"""A build with sanitizers reports what kernels must not do, and the process ends; else silence would say nothing."""

import subprocess
import sys

import pytest
from fuzz import sanitizers

from subbyte.kernels import isas

pytestmark = pytest.mark.skipif(len(sanitizers()) < 2, reason="built without sanitizers, see `make fuzz`")

# An array that says what is not so.
WRONG = """
import ctypes
import numpy as np
from subbyte.kernels import _testing

malloc = ctypes.CDLL(None).malloc
malloc.argtypes, malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
address = malloc({n_bytes})
ctypes.memset(address, 0, {n_bytes})
array = np.ctypeslib.as_array((ctypes.c_float * 64).from_address(address + {shift}))
_testing.add({isa!r}, array, np.zeros(64, np.float32))
"""


def report(isa: str, n_bytes: int, shift: int) -> str:
    code = WRONG.format(isa=isa, n_bytes=n_bytes, shift=shift)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("isa", isas())
def test_memory_that_ends_too_early(isa: str) -> None:
    assert "heap-buffer-overflow" in report(isa, n_bytes=200, shift=0)


def test_floats_at_an_odd_address() -> None:
    """By the plain kernels: vectors may be loaded from any address."""
    assert "misaligned address" in report("scalar", n_bytes=400, shift=1)
