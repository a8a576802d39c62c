# Choosing tokens: see sampling.h.


cdef extern from "sampling.h" nogil:
    int c_top_k "top_k"(const float *x, int64_t n, int64_t k, int32_t *ids)
    int64_t c_pick "pick"(const float *x, int64_t n, double total, double top_p, double min_p, double temperature, double uniform)


def top_k(logits, int64_t k):
    """Ids of the k largest of logits (float32 [n], 1 <= k <= n), largest first, equal ones by id: int32 [k].

    Raises NumericError when a logit is NaN or +inf, or all are -inf.
    """
    cdef const float[::1] x = np.ascontiguousarray(logits, np.float32)
    if not 1 <= k <= x.shape[0]:
        raise ValueError(f"the {k} largest of {x.shape[0]} logits")
    cdef int32_t[::1] ids = np.empty(k, np.int32)
    if c_top_k(&x[0], x.shape[0], k, &ids[0]):
        raise NumericError("the model's output is not finite: it holds NaN, +inf or nothing but -inf")
    return np.asarray(ids)


def pick(logits, ids, double total, double top_p, double min_p, double temperature, double uniform):
    """One of ids (int32 [n], by falling logit).

    Those that reach top_p together and min_p alone stay, see kernels/sampling.h.
    total: sum of exp(logit - largest logit) that probabilities refer to; 0 for that of ids alone.
    """
    cdef const float[::1] x = logits[ids]
    if x.shape[0] < 1 or temperature <= 0:
        raise ValueError(f"a pick among {x.shape[0]} tokens at temperature {temperature}")
    if total == 0:
        for i in range(x.shape[0]):
            total += exp(<double>x[i] - x[0])
    return int(ids[c_pick(&x[0], x.shape[0], total, top_p, min_p, temperature, uniform)])
