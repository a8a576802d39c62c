# Surviving a mapped file that is cut short while Python reads it.

cdef extern from "threads/sigbus.h" nogil:
    struct sigbus_guard_t "sigbus_guard":
        const address_range *range
        int n
        int *unreadable
    sigbus_guard_t sigbus_set_guard(sigbus_guard_t guard)


cdef class Guard:
    """With it, this thread reads zeros where mapped files were cut short, or can't be read, instead of being killed.

    maps: buffers in mapped files. Not to be nested; the thread that enters it leaves it.
    unreadable: whether some bytes were replaced by zeros.
    """

    cdef address_range *files
    cdef int n_files, was_unreadable
    cdef tuple views

    def __cinit__(self, *maps):
        cdef const unsigned char[::1] view
        self.views = tuple(memoryview(map) for map in maps)
        self.files = <address_range *>calloc(len(maps) + 1, sizeof(address_range))
        if self.files == NULL:
            raise MemoryError
        for view in self.views:
            if view.shape[0]:
                self.files[self.n_files] = address_range(<size_t>&view[0], <size_t>&view[0] + <size_t>view.shape[0])
                self.n_files += 1

    def __dealloc__(self):
        free(self.files)

    @property
    def unreadable(self) -> bool:
        return self.was_unreadable != 0

    def __enter__(self):
        sigbus_set_guard(sigbus_guard_t(self.files, self.n_files, &self.was_unreadable))
        return self

    def __exit__(self, *error):
        sigbus_set_guard(sigbus_guard_t(NULL, 0, NULL))
