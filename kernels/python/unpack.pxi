# Block formats as kernels see them: codes, scales and mins.


cdef extern from "formats/codebooks.h" nogil:
    const uint64_t iq1_grid[2048]
    const uint64_t iq2xxs_grid[256]
    const uint64_t iq2xs_grid[512]
    const uint64_t iq2s_grid[1024]
    const uint32_t iq3xxs_grid[256]
    const uint32_t iq3s_grid[512]
    const int8_t iq4_values[16]
    const int8_t mxfp4_values[16]


def unpack(data, str format, str isa=None):
    cdef int f = format_of(format)
    cdef const kernels_t *table = table_of(isa)
    cdef Py_buffer buffer
    cdef int64_t k
    cdef uint8_t[::1] code
    cdef float[::1] scale, factor, min
    cdef int group = format_info[f].group
    if group == 0:
        raise ValueError(f"{format} holds plain numbers, which have no codes")
    PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
    try:
        k = count_weights(f, buffer.len)
        arrays = (np.empty(k, np.uint8), np.empty(k // group, np.float32),
                  np.zeros(k // group, np.float32) if format_has_min(f) else None)
        factors = np.empty(k // 256, np.float32) if format_has_factor(f) else None
        code, scale, min = arrays
        factor = factors
        with nogil:
            table.unpack[f](<const uint8_t *>buffer.buf, k, &code[0], &scale[0], NULL if factor is None else &factor[0],
                            NULL if min is None else &min[0])
    finally:
        PyBuffer_Release(&buffer)
    if factors is not None:
        with np.errstate(invalid="ignore", over="ignore"):
            arrays[1].reshape(factors.size, -1)[:] *= factors[:, None]
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
