"""Door to the block formats and the instruction sets of kernel_table.h: buffers in, arrays out, the work outside the GIL."""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int8_t, int64_t, uint8_t, uint32_t, uint64_t

include "cpu_decl.pxi"


cdef extern from "formats/codebooks.h" nogil:
    const uint64_t iq1_grid[2048]
    const uint64_t iq2xxs_grid[256]
    const uint64_t iq2xs_grid[512]
    const uint64_t iq2s_grid[1024]
    const uint32_t iq3xxs_grid[256]
    const uint32_t iq3s_grid[512]
    const int8_t iq4_values[16]
    const int8_t mxfp4_values[16]


def formats():
    """The rows of formats.def: name, id, block size, block bytes, group, bias, max code."""
    rows = []
    cdef int f
    for f in range(N_FORMATS):
        row = format_info[f]
        rows.append((row.name.decode(), row.id, row.block, row.bytes, row.group, row.bias, row.max_code))
    return rows


cdef int64_t count_weights(int f, int64_t n_bytes) except -1:
    if n_bytes % format_info[f].bytes:
        name = format_info[f].name.decode()
        raise ValueError(f"{n_bytes} bytes are not whole {name} blocks of {format_info[f].bytes} bytes")
    return n_bytes // format_info[f].bytes * format_info[f].block


def dequantize(data, str format, str isa=None):
    cdef int f = format_of(format)
    cdef const kernels_t *table = table_of(isa)
    cdef Py_buffer buffer
    cdef int64_t k
    cdef float[::1] out
    PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
    try:
        k = count_weights(f, buffer.len)
        array = np.empty(k, np.float32)
        out = array
        with nogil:
            table.to_float[f](<const uint8_t *>buffer.buf, k, &out[0])
    finally:
        PyBuffer_Release(&buffer)
    return array


def unpack(data, str format, str isa=None):
    cdef int f = format_of(format)
    cdef const kernels_t *table = table_of(isa)
    cdef Py_buffer buffer
    cdef int64_t k
    cdef uint8_t[::1] code
    cdef float[::1] scale, min
    cdef int group = format_info[f].group
    if group == 0:
        raise ValueError(f"{format} holds plain numbers, which have no codes")
    PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
    try:
        k = count_weights(f, buffer.len)
        arrays = (np.empty(k, np.uint8), np.empty(k // group, np.float32),
                  np.zeros(k // group, np.float32) if format_has_min(f) else None)
        code, scale, min = arrays
        with nogil:
            table.unpack[f](<const uint8_t *>buffer.buf, k, &code[0], &scale[0], NULL if min is None else &min[0])
    finally:
        PyBuffer_Release(&buffer)
    return arrays


def codebooks():
    """The tables of codebooks.h as arrays, by name."""
    return {
        "iq1_grid": np.array(<const uint64_t[:2048]>iq1_grid),
        "iq2xxs_grid": np.array(<const uint64_t[:256]>iq2xxs_grid),
        "iq2xs_grid": np.array(<const uint64_t[:512]>iq2xs_grid),
        "iq2s_grid": np.array(<const uint64_t[:1024]>iq2s_grid),
        "iq3xxs_grid": np.array(<const uint32_t[:256]>iq3xxs_grid),
        "iq3s_grid": np.array(<const uint32_t[:512]>iq3s_grid),
        "iq4_values": np.array(<const int8_t[:16]>iq4_values),
        "mxfp4_values": np.array(<const int8_t[:16]>mxfp4_values),
    }
