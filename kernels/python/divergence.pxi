# Two models' next-token distributions, compared row by row.


class Comparison(NamedTuple):
    """Of each row, float64 [n]: log-probabilities of the wanted token, KL(p || q) and KL(q || p) in nats, sum of min(p, q).

    top_p, top_q: the likeliest tokens, int32 [n].
    """

    log_p: NDArray[np.float64]
    log_q: NDArray[np.float64]
    divergence: NDArray[np.float64]
    reverse: NDArray[np.float64]
    common: NDArray[np.float64]
    top_p: NDArray[np.int32]
    top_q: NDArray[np.int32]


def compare_logits(const float[:, ::1] p not None, const float[:, ::1] q not None, wanted, *, int n_threads=1, isa=None,
            bint p_is_log=False):
    """How the distribution of q differs from that of p, both logits [n, n_vocab]; wanted: the token of each row.

    p_is_log: p holds log-probabilities, clipped from below and so of a sum below 1: they are taken as they are. A token
    whose p is -infinity has no part in divergences and common mass.
    """
    cdef int32_t[::1] tokens = np.ascontiguousarray(wanted, np.int32)
    cdef int64_t n = p.shape[0]
    if n < 1 or q.shape[0] != n or tokens.shape[0] != n or p.shape[1] != q.shape[1] or p.shape[1] < 1:
        raise ValueError(f"logits {n} x {p.shape[1]} and {q.shape[0]} x {q.shape[1]}, {tokens.shape[0]} tokens: they must agree")
    if not all_within(tokens, p.shape[1]):
        raise ValueError(f"wanted token ids must lie in 0..{p.shape[1] - 1}")
    if not 1 <= n_threads <= MAX_THREADS:
        raise ValueError(f"{n_threads} threads, allowed are 1..{MAX_THREADS}")
    cdef double[::1] log_p = np.empty(n), log_q = np.empty(n), divergence = np.empty(n), reverse = np.empty(n)
    cdef double[::1] common = np.empty(n)
    cdef int32_t[::1] top_p = np.empty(n, np.int32), top_q = np.empty(n, np.int32)
    cdef comparison_t c
    cdef Poll poll = Poll()
    cdef int status
    c.kernels, c.p, c.q, c.p_is_log = table_of(isa), &p[0, 0], &q[0, 0], p_is_log
    c.wanted, c.n_rows, c.n_vocab = &tokens[0], n, p.shape[1]
    c.log_p, c.log_q, c.divergence, c.reverse, c.common = &log_p[0], &log_q[0], &divergence[0], &reverse[0], &common[0]
    c.top_p, c.top_q = &top_p[0], &top_q[0]
    with nogil:
        status = compare_rows(&c, n_threads, poll_signals, <void *>poll)
    if poll.error is not None:
        raise poll.error
    raise_status(status, n_threads)
    return Comparison(*map(np.asarray, (log_p, log_q, divergence, reverse, common, top_p, top_q)))
