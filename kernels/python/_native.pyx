"""The Cython door to the engine: weights, plans, caches and steps.

No arithmetic here; every shape is checked before C sees it.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport exp
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

import errno
import operator
import os
import threading
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ModelChanged, NumericError, ResourceError, SessionBusy

MAX_CTX = 2**31 - 1   # positions of a cache
MAX_BATCH = 2**12     # tokens of a step
MAX_THREADS = C_MAX_THREADS
MAX_FLOATS = 2**20    # of a row of anything: sums and products of a few such fit an int

include "cpu_decl.pxi"
include "engine_decl.pxi"
include "plan.pxi"
include "engine.pxi"
include "divergence.pxi"
include "sampling.pxi"
include "sigbus.pxi"


def isas() -> list[str]:
    """Instruction sets whose kernels run on this machine, weakest first; "scalar" is always there."""
    return usable_isas()


def best_isa() -> str:
    """The instruction set in use: the strongest one, or what the environment variable SUBBYTE_ISA names."""
    return table_of(None).name.decode()
