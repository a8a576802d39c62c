# Block formats: what they are, and their weights as floats.


def formats():
    """The rows of formats.def: name, id, block size, block bytes, group, bias, max code."""
    rows = []
    cdef int f
    for f in range(N_FORMATS):
        row = format_info[f]
        rows.append((row.name.decode(), row.id, row.block, row.bytes, row.group, row.bias, row.max_code))
    return rows


def dequantize(data, str format, str isa=None):
    cdef int f = format_of(format)
    cdef const kernels_t *table = table_of(isa)
    cdef Py_buffer buffer
    cdef int64_t k
    cdef float[::1] out
    cdef address_range range
    PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
    try:
        k = count_weights(f, buffer.len)
        array = np.empty(k, np.float32)
        out = array
        with nogil:
            table.to_float[f](<const uint8_t *>buffer.buf, k, &out[0])
        range = address_range(<size_t>buffer.buf, <size_t>buffer.buf + <size_t>buffer.len)
        check_readable(&range, 1)
    finally:
        PyBuffer_Release(&buffer)
    return array
