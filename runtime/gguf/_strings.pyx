"""The loops over a GGUF string array, at C speed and without the GIL: a vocabulary has up to 262,144 strings and more."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t

__all__ = ["scan_strings", "split_strings"]

cdef enum:
    LENGTH_BYTES = 8


cdef inline uint64_t le64(const unsigned char *p) noexcept nogil:
    # Shifts instead of a load: strings begin at any byte. Compilers make one load of it.
    return (<uint64_t>p[0] | <uint64_t>p[1] << 8 | <uint64_t>p[2] << 16 | <uint64_t>p[3] << 24 |
            <uint64_t>p[4] << 32 | <uint64_t>p[5] << 40 | <uint64_t>p[6] << 48 | <uint64_t>p[7] << 56)


def scan_strings(data not None, Py_ssize_t start, uint64_t count, uint64_t longest):
    """Walk `count` strings (u64 length, bytes) from `start`; return (how many are whole, where the walk ended).

    Stops before a string that leaves `data` or has more than `longest` bytes.
    """
    cdef Py_buffer view
    cdef const unsigned char *base
    cdef uint64_t done = 0, pos, size, n_bytes
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        base = <const unsigned char *>view.buf
        size = <uint64_t>view.len
        if start < 0 or <uint64_t>start > size:
            raise ValueError(f"start {start} is outside of {size} bytes")
        pos = <uint64_t>start
        with nogil:
            while done < count and size - pos >= LENGTH_BYTES:
                n_bytes = le64(base + pos)
                if n_bytes > longest or n_bytes > size - pos - LENGTH_BYTES:
                    break
                pos += LENGTH_BYTES + n_bytes
                done += 1
    finally:
        PyBuffer_Release(&view)
    return done, pos


def split_strings(data not None, uint64_t count):
    """The first `count` strings (u64 length, bytes) of `data` as a list of bytes."""
    cdef Py_buffer view
    cdef const unsigned char *base
    cdef uint64_t pos = 0, size, n_bytes
    cdef list strings = []
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        base = <const unsigned char *>view.buf
        size = <uint64_t>view.len
        while <uint64_t>len(strings) < count:
            n_bytes = le64(base + pos) if size - pos >= LENGTH_BYTES else 0
            if size - pos < LENGTH_BYTES or n_bytes > size - pos - LENGTH_BYTES:
                raise ValueError(f"string {len(strings)} of {count} leaves the {size} bytes given")
            strings.append(base[pos + LENGTH_BYTES : pos + LENGTH_BYTES + n_bytes])
            pos += LENGTH_BYTES + n_bytes
    finally:
        PyBuffer_Release(&view)
    return strings
