# Choosing tokens: see sampling.h.


cdef extern from "engine/sampling.h" nogil:
    int c_top_k "top_k"(const float *x, int64_t n, int64_t k, int32_t *ids)
    int64_t c_sample "sample"(const float *x, int64_t n, double total, double top_p, double min_p, double xtc, double temperature,
                             double uniform)
    int c_mask_logits "mask_logits"(float *x, int64_t n, const uint32_t *words)


NOT_FINITE = "the model's output is not finite: it holds NaN, +inf or nothing but -inf"


def top_k(logits, int64_t k):
    """Ids of the k largest of logits (float32 [n], 1 <= k <= n), largest first, equal ones by id: int32 [k].

    Raises NumericError when a logit is NaN or +inf, or all are -inf.
    """
    cdef const float[::1] x = np.ascontiguousarray(logits, np.float32)
    if not 1 <= k <= x.shape[0]:
        raise ValueError(f"the {k} largest of {x.shape[0]} logits")
    cdef int32_t[::1] ids = np.empty(k, np.int32)
    if c_top_k(&x[0], x.shape[0], k, &ids[0]):
        raise NumericError(NOT_FINITE)
    return np.asarray(ids)


def sample(
    logits, int64_t k, double total, double top_p, double min_p, double xtc, double temperature, double uniform,
):
    """The id of one of the k largest of logits (float32 [n]), at random as kernels/engine/sampling.h says.

    total: sum of exp(logit - largest logit) that probabilities refer to; 0 for that of the k alone. uniform: a random
    number from [0, 1). Raises NumericError as top_k.
    """
    cdef const float[::1] x = np.ascontiguousarray(logits, np.float32)
    cdef int64_t i, at
    if not 1 <= k <= x.shape[0] or temperature < 0:
        raise ValueError(f"one of the {k} largest of {x.shape[0]} logits at temperature {temperature}")
    cdef int32_t *ids = <int32_t *>calloc(k, sizeof(int32_t))
    cdef float *largest = <float *>calloc(k, sizeof(float))
    try:
        if ids == NULL or largest == NULL:
            raise MemoryError
        if c_top_k(&x[0], x.shape[0], k, ids):
            raise NumericError(NOT_FINITE)
        for i in range(k):
            largest[i] = x[ids[i]]
            if total <= 0:
                total -= exp(<double>largest[i] - largest[0])
        at = c_sample(largest, k, abs(total), top_p, min_p, xtc, temperature, uniform)
        return ids[at]
    finally:
        free(ids)
        free(largest)


def mask_logits(float[::1] logits not None, const uint32_t[::1] words not None):
    """Sets those of logits (float32 [n], in place) to -inf that a mask does not allow; whether one above it is left.

    words: uint32 [(n + 31) // 32], a bit for each logit, the lowest bit first. Raises ValueError for another length.
    """
    if words.shape[0] != (logits.shape[0] + 31) // 32:
        raise ValueError(f"a mask of {words.shape[0]} words for {logits.shape[0]} logits")
    return logits.shape[0] > 0 and c_mask_logits(&logits[0], logits.shape[0], &words[0]) != 0
