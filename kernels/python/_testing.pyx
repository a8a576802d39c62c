"""Single kernels of every instruction set, for tests and benchmarks. Not part of an installation."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_Import
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

import errno

import numpy as np

include "cpu_decl.pxi"
include "engine_decl.pxi"
include "testing_api_decl.pxi"

cdef const testing_api *native = <const testing_api *>PyCapsule_Import("subbyte.kernels._native._testing_api", 0)


cdef const kernels_t *table_of(str isa) except NULL:
    """The functions of an instruction set; None: of the strongest one, or of what SUBBYTE_ISA names."""
    return native.table_of(isa)


include "unpack.pxi"
include "int8.pxi"
include "float.pxi"
include "timing.pxi"
