# What _native lends to _testing, as a capsule: so that tests and benchmarks run the engine's own code, kernel tables and thread pool,
# and no copies of them.


cdef struct testing_api:
    const kernels_t *(*table_of)(str isa) except NULL
    int (*time_product)(const kernels_t *, const weight *, const float *x, int n_tokens, int64_t repeat, float *out,
                        double *seconds) noexcept nogil
    int (*time_unpack)(const kernels_t *, const weight *, int64_t repeat, double *seconds) noexcept nogil
    double (*time_cycles)(int64_t n) noexcept nogil
