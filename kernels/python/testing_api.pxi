# The capsule that _testing takes what it runs from.

include "testing_api_decl.pxi"


cdef extern from "measure/timing.h" nogil:
    int time_product(const kernels_t *, const weight *, const float *x, int n_tokens, int64_t repeat, float *out, double *seconds)
    int time_unpack(const kernels_t *, const weight *, int64_t repeat, double *seconds)
    double time_cycles(int64_t n)


cdef testing_api lent = testing_api(table_of, time_product, time_unpack, time_cycles)
_testing_api = PyCapsule_New(&lent, "subbyte.kernels._native._testing_api", NULL)
