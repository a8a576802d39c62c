# Mapped files, which every thread may read although they are cut short meanwhile.


cdef class MappedFile:
    """The first n_bytes of an open file, mapped read-only: a buffer. The map lives as long as any view of it.

    Where the file is cut short, or can't be read, a thread that reads it gets zeros instead of being killed (SIGBUS);
    whoever reads asks `unreadable` afterwards. `dequantize` and steps of an engine ask by themselves.
    Raises OSError where it can't be mapped.
    """

    cdef void *address
    cdef size_t n_bytes
    cdef guarded_map *guard

    def __cinit__(self, int fd, Py_ssize_t n_bytes):
        if n_bytes < 1:
            raise ValueError(f"a map of {n_bytes} bytes")
        self.address = mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, 0)
        if self.address == MAP_FAILED:
            self.address = NULL
            raise OSError(libc_errno, os.strerror(libc_errno))
        self.n_bytes = n_bytes
        self.guard = sigbus_guard(address_range(<size_t>self.address, <size_t>self.address + <size_t>n_bytes))
        if self.guard == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.guard != NULL:
            sigbus_unguard(self.guard)
        if self.address != NULL:
            munmap(self.address, self.n_bytes)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.address, self.n_bytes, True, flags)

    @property
    def unreadable(self) -> bool:
        """Whether zeros took the place of bytes that are missing."""
        return sigbus_map_unreadable(self.guard) != 0


cdef int check_readable(const address_range *range, int n) except -1:
    if sigbus_unreadable(range, n):
        raise ModelChanged("the model's file was cut short, or could not be read, while in use; load it again")
    return 0
