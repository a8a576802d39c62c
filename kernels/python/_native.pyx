"""The Cython binding of the C library: block formats, plans, caches and steps, sampling, the machine's roofline.

No arithmetic here; every shape is checked before C sees it.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_New
from libc.errno cimport errno as libc_errno
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, mmap, munmap

import errno
import operator
import os
import threading
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ModelChanged, NumericError, ResourceError, SessionBusy, StepCancelled
from subbyte.kernels.operation import Matrix, Operation

MAX_CTX = 2**31 - 1   # positions of a cache
MAX_BATCH = 2**12     # tokens of a step
MAX_THREADS = C_MAX_THREADS
MAX_FLOATS = 2**20    # of a row of anything: sums and products of a few such fit an int

include "cpu_decl.pxi"
include "engine_decl.pxi"
include "isa.pxi"
include "mapped_file.pxi"
include "formats.pxi"
include "plan.pxi"
include "engine.pxi"
include "divergence.pxi"
include "sampling.pxi"
include "roofline.pxi"
include "testing_api.pxi"
