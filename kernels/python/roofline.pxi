# The machine's roofline (measure/roofline.h): what it can do at this moment.


ctypedef int64_t (*peak_fn)(int64_t n) noexcept nogil


cdef extern from "measure/roofline.h" nogil:
    int measure_peak(peak_fn peak, int n_threads, double seconds, double *rate)
    int measure_read(const uint8_t *memory, int64_t n_bytes, int n_threads, double seconds, double *rate)


cdef int check_measuring(int n_threads, double seconds) except -1:
    if not 1 <= n_threads <= MAX_THREADS:
        raise ValueError(f"{n_threads} threads, allowed are 1..{MAX_THREADS}")
    if not 0 < seconds <= 1:
        raise ValueError(f"measuring for {seconds} seconds; allowed is up to 1")
    return 0


cdef double measured(int status, double rate) except -1:
    if status:
        raise ResourceError(f"the machine's roofline could not be measured: {os.strerror(abs(status))}")
    return rate


cdef double run_peak(peak_fn peak, int n_threads, double seconds) except -1:
    cdef double rate
    cdef int status
    check_measuring(n_threads, seconds)
    with nogil:
        status = measure_peak(peak, n_threads, seconds, &rate)
    return measured(status, rate)


def int8_peak(str isa, int n_threads=1, double seconds=0.02) -> float:
    return run_peak(table_of(isa).int8_peak, n_threads, seconds)


def float_peak(str isa, int n_threads=1, double seconds=0.02) -> float:
    return run_peak(table_of(isa).float_peak, n_threads, seconds)


def bf16_peak(str isa, int n_threads=1, double seconds=0.02) -> float:
    cdef const kernels_t *table = table_of(isa)
    return run_peak(table.float_peak if table.bf16_peak == NULL else table.bf16_peak, n_threads, seconds)


def read_rate(const uint8_t[::1] memory, int n_threads=1, double seconds=0.02) -> float:
    cdef double rate
    cdef int status
    check_measuring(n_threads, seconds)
    if memory.shape[0] < 64 or <uintptr_t>&memory[0] % 8:
        raise ValueError(f"{memory.shape[0]} bytes to read; there must be 64, at an address that is a multiple of 8")
    with nogil:
        status = measure_read(&memory[0], memory.shape[0], n_threads, seconds, &rate)
    return measured(status, rate)
