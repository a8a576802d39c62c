# Choosing tokens: see sampling.h.


cdef extern from "engine/sampling.h" nogil:
    ctypedef struct draw_t "struct draw":
        double temperature, top_p, min_p, xtc, uniform
        int64_t top_k
    ctypedef struct draws_t "struct draws":
        const kernels_t *kernels
        int64_t n_rows, n_vocab
        const float **row
        const draw_t *how
        int32_t *token
    enum: DRAW_NOT_FINITE, DRAW_NO_MEMORY
    void log_softmax_of(const kernels_t *kernels, const float *x, int64_t n, const int32_t *ids, int64_t n_ids, float *logprobs)
    int c_top_k "top_k"(const float *x, int64_t n, int64_t k, int32_t *ids)
    int c_mask_logits "mask_logits"(float *x, int64_t n, const uint32_t *words)
    int draw_rows(draws_t *draws, int n_threads, int (*poll)(void *) noexcept nogil, void *poll_arg)


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


def top_logprobs(logits, int64_t token, int64_t k, isa=None):
    """Ids of a token and then of the k most probable, int32 [1 + k], and their log-probabilities, float32 [1 + k].

    logits: float32 [n]; 0 <= k <= n. Errors as `top_k`.
    """
    cdef const float[::1] x = np.ascontiguousarray(logits, np.float32)
    cdef int64_t n = x.shape[0]
    if not 0 <= k <= n or not 0 <= token < n:
        raise ValueError(f"token {token} and the {k} most probable of {n}")
    cdef int32_t[::1] ids = np.empty(1 + max(k, 1), np.int32)
    cdef float[::1] logprobs = np.empty(1 + k, np.float32)
    cdef const kernels_t *kernels = table_of(isa)
    cdef int status
    with nogil:
        status = c_top_k(&x[0], n, max(k, 1), &ids[1])
        if not status:
            ids[0] = token
            log_softmax_of(kernels, &x[0], n, &ids[0], 1 + k, &logprobs[0])
    if status:
        raise NumericError(NOT_FINITE)
    return np.asarray(ids)[:1 + k], np.asarray(logprobs)


def draw_tokens(rows, how, *, int n_threads=1, isa=None):
    """A token of each row of logits (float32 [n_vocab], all of one length) at random: list of ids.

    how: (temperature, top_k, top_p, min_p, xtc, uniform) of each row, as kernels/engine/sampling.h says. A row that is not
    finite, as for top_k, has the id -1, and leaves the others as they are. A token depends on nothing but its row.
    """
    cdef int64_t i, n = len(rows)
    cdef const float[::1] x
    cdef draws_t d
    cdef int status
    cdef Poll poll = Poll()
    if n < 1 or len(how) != n or not 1 <= n_threads <= MAX_THREADS:
        raise ValueError(f"{n} rows of logits, {len(how)} ways to draw from them, {n_threads} threads")
    cdef const float **row = <const float **>calloc(n, sizeof(float *))
    cdef draw_t *draw = <draw_t *>calloc(n, sizeof(draw_t))
    cdef int32_t *token = <int32_t *>calloc(n, sizeof(int32_t))
    try:
        if row == NULL or draw == NULL or token == NULL:
            raise MemoryError
        d.kernels, d.n_rows, d.row, d.how, d.token = table_of(isa), n, row, draw, token
        d.n_vocab = len(rows[0])
        for i in range(n):
            x = rows[i]
            if d.n_vocab < 1 or x.shape[0] != d.n_vocab:
                raise ValueError(f"a row of {x.shape[0]} logits beside one of {d.n_vocab}")
            row[i] = &x[0]
            (draw[i].temperature, draw[i].top_k, draw[i].top_p, draw[i].min_p, draw[i].xtc, draw[i].uniform) = how[i]
        with nogil:
            status = draw_rows(&d, n_threads, poll_signals, <void *>poll)
        if poll.error is not None:
            raise poll.error
        raise_status(status, n_threads)
        if any(token[i] == DRAW_NO_MEMORY for i in range(n)):
            raise MemoryError
        return [token[i] for i in range(n)]
    finally:
        free(row)
        free(draw)
        free(token)


def mask_logits(float[::1] logits not None, const uint32_t[::1] words not None):
    """Sets those of logits (float32 [n], in place) to -inf that a mask does not allow; whether one above it is left.

    words: uint32 [(n + 31) // 32], a bit for each logit, the lowest bit first. Raises ValueError for another length.
    """
    if words.shape[0] != (logits.shape[0] + 31) // 32:
        raise ValueError(f"a mask of {words.shape[0]} words for {logits.shape[0]} logits")
    return logits.shape[0] > 0 and c_mask_logits(&logits[0], logits.shape[0], &words[0]) != 0
