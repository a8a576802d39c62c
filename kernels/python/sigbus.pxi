# Surviving a mapped file that is cut short while Python reads it.

cdef extern from "threads/sigbus.h" nogil:
    struct mapped:
        size_t start, end
    void guard_mapped(const mapped *files, int n, int *lost)


cdef class Guard:
    """With it, this thread reads zeros where mapped files were cut short, or can't be read, instead of being killed.

    maps: buffers in mapped files. Not to be nested; the thread that enters it leaves it.
    lost: whether some bytes were replaced by zeros.
    """

    cdef mapped *files
    cdef int n_files, any_lost
    cdef tuple views

    def __cinit__(self, *maps):
        cdef const unsigned char[::1] view
        self.views = tuple(memoryview(map) for map in maps)
        self.files = <mapped *>calloc(len(maps) + 1, sizeof(mapped))
        if self.files == NULL:
            raise MemoryError
        for view in self.views:
            if view.shape[0]:
                self.files[self.n_files] = mapped(<size_t>&view[0], <size_t>&view[0] + <size_t>view.shape[0])
                self.n_files += 1

    def __dealloc__(self):
        free(self.files)

    @property
    def lost(self) -> bool:
        return self.any_lost != 0

    def __enter__(self):
        guard_mapped(self.files, self.n_files, &self.any_lost)
        return self

    def __exit__(self, *error):
        guard_mapped(NULL, 0, NULL)
