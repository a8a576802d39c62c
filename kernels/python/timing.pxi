# Kernels run again and again with nothing of Python in between, see measure/timing.h. All times are processor seconds of the calling
# thread: on a busy machine that leaves out what others took.


cdef weight weight_of(str format, const uint8_t[::1] data, int64_t rows, int64_t cols) except *:
    cdef weight w
    w.data, w.format, w.rows, w.cols = NULL, format_of(format), rows, cols
    if not 1 <= rows <= 2**30 or not 1 <= cols <= 2**20 or cols % format_info[w.format].block:
        raise ValueError(f"{rows} x {cols} weights of {format}; allowed are whole blocks of {format_info[w.format].block}")
    if data.shape[0] != rows * row_bytes(w.format, cols):
        raise ValueError(f"{data.shape[0]} bytes are not {rows} rows of {cols} weights")
    w.data = &data[0]
    return w


cdef int check_status(int status) except -1:
    if status == errno.ENOMEM:
        raise MemoryError("no memory for the kernels to work in")
    if status:
        raise OSError(status, "the kernels could not run")
    return 0


def time_product(str isa, str format, const uint8_t[::1] data, int64_t rows, const float[:, ::1] x, int64_t repeat = 1):
    """(seconds, out): out float32 [n_tokens, rows] = x [n_tokens, cols] times the transposed weights, `repeat` times.

    By the code path that a step with int8 activations takes for this format and number of tokens; making x ready is not in it.
    """
    cdef const kernels_t *table = table_of(isa)
    cdef weight w = weight_of(format, data, rows, x.shape[1])
    cdef int n_tokens = <int>x.shape[0], status
    cdef double seconds = 0
    if not 1 <= x.shape[0] <= 4096:
        raise ValueError(f"{x.shape[0]} tokens; allowed are 1 to 4096")
    out = np.empty((n_tokens, rows), np.float32)
    cdef float[:, ::1] view = out
    with nogil:
        status = native.time_product(table, &w, &x[0, 0], n_tokens, repeat, &view[0, 0], &seconds)
    check_status(status)
    return seconds, out


def time_unpack(str isa, str format, const uint8_t[::1] data, int64_t rows, int64_t cols, int64_t repeat = 1) -> float:
    """Seconds to unpack all rows of a quantized format `repeat` times, over and over into one panel."""
    cdef const kernels_t *table = table_of(isa)
    cdef weight w = weight_of(format, data, rows, cols)
    cdef double seconds = 0
    cdef int status
    if format_info[w.format].group == 0:
        raise ValueError(f"{format} holds plain numbers: there is nothing to unpack")
    with nogil:
        status = native.time_unpack(table, &w, repeat, &seconds)
    check_status(status)
    return seconds


def time_cycles(int64_t n) -> float:
    """Seconds that n cycles of the core take now, by n additions that wait for one another; n is rounded up to 64."""
    with nogil:
        seconds = native.time_cycles(n)
    return seconds
