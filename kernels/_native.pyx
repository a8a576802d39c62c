"""The Cython door to the engine: weights, plans, caches and steps.

No arithmetic here; every shape is checked before C sees it.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport exp
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

import os

import numpy as np

from subbyte.errors import NumericError, ResourceError

include "_table.pxi"


cdef extern from "plan.h" nogil:
    enum: MAX_TARGETS
    enum: MAX_ROPES
    enum: MAX_THREADS
    enum op_kind: OP_EMBED, OP_LINEAR, OP_GATED, OP_ATTENTION, OP_NORM
    enum activation: ACT_SILU, ACT_GELU
    enum activations: ACTIVATIONS_INT8, ACTIVATIONS_INT8X2, ACTIVATIONS_FLOAT
    enum head_kind: HEAD_LOGITS, HEAD_LOGPROB

    struct weight:
        const uint8_t *data
        int format
        int64_t rows, cols
    struct rope_t "rope":
        const double *freq
        int n_pairs
        float magnitude
        int interleaved
    struct target_t "target":
        weight weight
        const float *bias
        int slot
    struct attention_t "attention":
        int q, k, v, n_head, n_head_kv, head_dim, layer, rope
        int64_t window
        float scale
        const float *q_norm
        const float *k_norm
    struct op_t "op":
        op_kind kind
        int src
        const float *norm
        float eps
        int n_targets
        target_t *target
        int accumulate
        activation activation
        float scale
        attention_t attention
    struct cache_layer:
        int n_head_kv, head_dim
    struct plan_t "plan":
        op_t *op
        int n_ops
        int *width
        int n_slots
        rope_t *rope
        int n_ropes
        cache_layer *layer
        int n_layers
        int max_cols, max_group, max_head_dim
        int src
        const float *norm
        float eps
        weight output
        float softcap
    struct cache_t "cache":
        uint8_t *data
        int64_t *offset
        int64_t n_ctx
        int is_f16
    struct segment:
        cache_t *cache
        int row, n
        int64_t pos
    struct scratch_t "scratch":
        int64_t memory_bytes
    struct step_t "step":
        const plan_t *plan
        const kernels_t *kernels
        scratch_t *scratch
        const int32_t *token
        int n_tokens
        const segment *segment
        int n_segments
        head_kind head
        const int32_t *head_row
        int n_head_rows
        const int32_t *wanted
        float *logits
        float *logprob
        int finite
    scratch_t *scratch_new(const plan_t *, const kernels_t *, int n_batch, int n_threads, int64_t n_ctx,
                           activations how)
    void scratch_free(scratch_t *)
    int step_run(step_t *, int (*poll)(void *) noexcept nogil, void *)

cdef extern from "sampling.h" nogil:
    int c_top_k "top_k"(const float *x, int64_t n, int64_t k, int32_t *ids)
    int64_t c_pick "pick"(const float *x, int64_t n, double total, double top_p, double min_p, double temperature, double uniform)

cdef extern from "cache.h" nogil:
    int64_t cache_bytes(const plan_t *plan, int64_t n_ctx, int is_f16)
    int cache_init(cache_t *cache, const plan_t *plan, int64_t n_ctx, int is_f16)
    void cache_free(cache_t *cache, const plan_t *plan)


def isas() -> list[str]:
    """Instruction sets whose kernels run on this machine, weakest first; "scalar" is always there."""
    return usable_isas()


def best_isa() -> str:
    """The instruction set in use: the strongest one, or what the environment variable SUBBYTE_ISA names."""
    return table_of(None).name.decode()


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


cdef class Weight:
    """A matrix of `rows` rows of `cols` weights each, in block format `format`, read in place from `data` (kept alive).

    Raises ValueError when the row length is no multiple of the format's block, and when `data` has not exactly the
    bytes of the matrix.
    """

    cdef const uint8_t[::1] buffer
    cdef weight w

    def __init__(self, const uint8_t[::1] data, str format, int64_t rows, int64_t cols):
        cdef int f = format_of(format)
        block = format_info[f].block
        if rows < 1 or cols < 1 or cols % block:
            raise ValueError(f"a {format} matrix needs rows of a multiple of {block} weights, not {rows} x {cols}")
        need = int(rows) * (int(cols) // block) * format_info[f].bytes
        if data.shape[0] != need:
            raise ValueError(f"a {format} matrix of {rows} x {cols} takes {need} bytes, not {data.shape[0]}")
        self.buffer = data
        self.w.data = &data[0]
        self.w.format = f
        self.w.rows = rows
        self.w.cols = cols

    @property
    def format(self) -> str:
        return format_info[self.w.format].name.decode()

    @property
    def rows(self) -> int:
        return self.w.rows

    @property
    def cols(self) -> int:
        return self.w.cols

    def slice(self, int64_t first, int64_t last) -> Weight:
        """Rows first .. last - 1 as a matrix of their own, without a copy."""
        if not 0 <= first < last <= self.w.rows:
            raise ValueError(f"rows {first}..{last} of a matrix of {self.w.rows} rows")
        cdef int64_t n = row_bytes(self.w.format, self.w.cols)
        return Weight(self.buffer[first * n:last * n], self.format, last - first, self.w.cols)


cdef class Plan:
    """A model's operations in order. Filled once by models._graph, then immutable and shared by all its sessions.

    widths: floats a token in each slot. ropes: (frequencies float64 [n_pairs], magnitude, interleaved) each.
    """

    cdef plan_t p
    cdef list keep          # weights and vectors the C side points into
    cdef int capacity

    def __cinit__(self):
        memset(&self.p, 0, sizeof(plan_t))

    def __init__(self, widths, ropes=()):
        self.keep = []
        self.p.n_slots = len(widths)
        self.p.width = <int *>calloc(len(widths), sizeof(int))
        if self.p.width == NULL:
            raise MemoryError
        for i, width in enumerate(widths):
            self.p.width[i] = width
        if len(ropes) > MAX_ROPES:
            raise ValueError(f"{len(ropes)} kinds of rope in one model, {MAX_ROPES} are supported")
        cdef double[::1] freq
        for i, (frequencies, magnitude, interleaved) in enumerate(ropes):
            freq = np.ascontiguousarray(frequencies, np.float64)
            self.keep.append(freq)
            self.p.rope[i].freq = &freq[0]
            self.p.rope[i].n_pairs = freq.shape[0]
            self.p.rope[i].magnitude = magnitude
            self.p.rope[i].interleaved = interleaved
        self.p.n_ropes = len(ropes)

    def __dealloc__(self):
        free(self.p.op)
        free(self.p.width)
        free(self.p.layer)

    cdef op_t *new_op(self, op_kind kind) except NULL:
        cdef op_t *bigger
        if self.p.n_ops == self.capacity:
            self.capacity = 2 * self.capacity + 64
            bigger = <op_t *>calloc(self.capacity, sizeof(op_t))
            if bigger == NULL:
                raise MemoryError
            for i in range(self.p.n_ops):
                bigger[i] = self.p.op[i]
            free(self.p.op)
            self.p.op = bigger
        cdef op_t *op = &self.p.op[self.p.n_ops]
        op.kind = kind
        self.p.n_ops += 1
        return op

    cdef int width(self, int slot) except -1:
        if not 0 <= slot < self.p.n_slots:
            raise ValueError(f"slot {slot} of {self.p.n_slots}")
        return self.p.width[slot]

    cdef const float *vector(self, values, int64_t n) except? NULL:
        if values is None:
            return NULL
        cdef float[::1] v = np.ascontiguousarray(values, np.float32)
        if v.shape[0] != n:
            raise ValueError(f"a vector of {v.shape[0]} values where {n} are needed")
        self.keep.append(v)
        return &v[0]

    cdef int set_target(self, target_t *t, Weight w, bias, int slot, int64_t cols) except -1:
        if w.w.cols != cols or self.width(slot) != w.w.rows:
            raise ValueError(f"a matrix of {w.w.rows} x {w.w.cols} from {cols} to {self.width(slot)} values")
        self.keep.append(w)
        t.weight = w.w
        t.bias = self.vector(bias, w.w.rows)
        t.slot = slot
        self.p.max_cols = max(self.p.max_cols, w.w.cols)
        return 0

    def embed(self, Weight w, int dst, float scale) -> None:
        """dst = scale * row of w for each token."""
        if self.width(dst) != w.w.cols:
            raise ValueError(f"embedding rows of {w.w.cols} values into {self.width(dst)}")
        self.keep.append(w)
        self.p.max_cols = max(self.p.max_cols, w.w.cols)
        cdef op_t *op = self.new_op(OP_EMBED)
        op.target[0].weight = w.w
        op.target[0].slot = dst
        op.scale = scale

    def linear(self, int src, norm, float eps, targets, bint accumulate) -> None:
        """slot (+)= w @ rms_norm(src) + bias for each (w, bias, slot) of targets; norm None: src as it is."""
        if not 1 <= len(targets) <= MAX_TARGETS:
            raise ValueError(f"{len(targets)} projections of one input, 1..{MAX_TARGETS} are supported")
        cdef op_t *op = self.new_op(OP_LINEAR)
        op.src, op.eps, op.accumulate = src, eps, accumulate
        op.norm = self.vector(norm, self.width(src))
        op.n_targets = len(targets)
        for i, (w, bias, slot) in enumerate(targets):
            self.set_target(&op.target[i], w, bias, slot, self.width(src))

    def gated(self, int src, norm, float eps, gate, up, int dst, str activation) -> None:
        """dst = activation(gate @ x) * (up @ x) of x = rms_norm(src).

        gate and up are (w, bias), activation is "silu" or "gelu".
        """
        cdef op_t *op = self.new_op(OP_GATED)
        op.src, op.eps = src, eps
        op.norm = self.vector(norm, self.width(src))
        op.n_targets = 2
        self.set_target(&op.target[0], gate[0], gate[1], dst, self.width(src))
        self.set_target(&op.target[1], up[0], up[1], dst, self.width(src))
        op.activation = {"silu": ACT_SILU, "gelu": ACT_GELU}[activation]

    def norm(self, int src, norm, float eps, int dst, bint accumulate) -> None:
        """dst (+)= rms_norm(src)."""
        if self.width(src) != self.width(dst):
            raise ValueError(f"norm from {self.width(src)} to {self.width(dst)} values")
        cdef op_t *op = self.new_op(OP_NORM)
        op.src, op.eps, op.accumulate = src, eps, accumulate
        op.norm = self.vector(norm, self.width(src))
        op.target[0].slot = dst
        self.p.max_cols = max(self.p.max_cols, self.width(src))

    def attention(self, int q, int k, int v, int dst, *, int n_head, int n_head_kv, int head_dim, float scale,
                  int rope=-1, int64_t window=0, q_norm=None, k_norm=None, float eps=0) -> None:
        """dst = attention of q over the cache after k and v were appended; heads are normed and rotated first."""
        if n_head < 1 or n_head_kv < 1 or n_head % n_head_kv:
            raise ValueError(f"{n_head} query heads over {n_head_kv} KV heads")
        for slot, heads in ((q, n_head), (k, n_head_kv), (v, n_head_kv), (dst, n_head)):
            if self.width(slot) != heads * head_dim:
                raise ValueError(f"{heads} heads of {head_dim} in a slot of {self.width(slot)}")
        if not -1 <= rope < self.p.n_ropes or (rope >= 0 and 2 * self.p.rope[rope].n_pairs > head_dim):
            raise ValueError(f"rope {rope} does not fit heads of {head_dim}")
        cdef op_t *op = self.new_op(OP_ATTENTION)
        cdef cache_layer *layers = <cache_layer *>calloc(self.p.n_layers + 1, sizeof(cache_layer))
        if layers == NULL:
            raise MemoryError
        for i in range(self.p.n_layers):
            layers[i] = self.p.layer[i]
        free(self.p.layer)
        self.p.layer = layers
        layers[self.p.n_layers].n_head_kv, layers[self.p.n_layers].head_dim = n_head_kv, head_dim
        op.target[0].slot = dst
        op.eps = eps
        op.attention.q, op.attention.k, op.attention.v = q, k, v
        op.attention.n_head, op.attention.n_head_kv, op.attention.head_dim = n_head, n_head_kv, head_dim
        op.attention.layer = self.p.n_layers
        op.attention.rope, op.attention.window, op.attention.scale = rope, window, scale
        op.attention.q_norm = self.vector(q_norm, head_dim)
        op.attention.k_norm = self.vector(k_norm, head_dim)
        self.p.n_layers += 1
        self.p.max_group = max(self.p.max_group, n_head // n_head_kv)
        self.p.max_head_dim = max(self.p.max_head_dim, head_dim)

    def head(self, int src, norm, float eps, Weight output, float softcap) -> None:
        """logits = output @ rms_norm(src), softened by softcap if > 0. Ends the plan."""
        if self.width(src) != output.w.cols:
            raise ValueError(f"an output matrix of rows of {output.w.cols} for {self.width(src)} values")
        self.keep.append(output)
        self.p.src, self.p.eps, self.p.softcap = src, eps, softcap
        self.p.norm = self.vector(norm, self.width(src))
        self.p.output = output.w
        self.p.max_cols = max(self.p.max_cols, output.w.cols)

    @property
    def n_vocab(self) -> int:
        return self.p.output.rows

    def cache_bytes(self, int64_t n_ctx, bint is_f16) -> int:
        """Bytes of a cache of n_ctx positions."""
        return cache_bytes(&self.p, n_ctx, is_f16)

    def scratch_bytes(self) -> int:
        """Bytes a token of a batch takes in all slots and as prepared activations."""
        return sum(4 * self.p.width[i] for i in range(self.p.n_slots)) + 2 * self.p.max_cols


cdef class Cache:
    """Keys and values of n_ctx positions, float16 or float32. Memory is reserved at once, taken as positions fill."""

    cdef cache_t c
    cdef Plan plan

    def __init__(self, Plan plan, int64_t n_ctx, bint is_f16):
        if n_ctx < 1:
            raise ValueError(f"a context of {n_ctx} tokens")
        if cache_init(&self.c, &plan.p, n_ctx, is_f16):
            raise ResourceError(f"no memory for a KV cache of {cache_bytes(&plan.p, n_ctx, is_f16) / 2**20:.0f} MiB "
                                f"({n_ctx} tokens); ask for a smaller context")
        self.plan = plan

    def __dealloc__(self):
        if self.plan is not None:
            cache_free(&self.c, &self.plan.p)


cdef class Poll:
    cdef object error


cdef int poll_signals(void *arg) noexcept with gil:
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        (<Poll>arg).error = error
        return 1
    return 0


cdef class Engine:
    """Runs steps of one plan with its own scratch memory; used by one thread at a time.

    isa: None for the best one. activations: what meets quantized weights: "int8" (a scale per 32), "int8x2" (int8 plus
    its rest as int8 again, about 15 bits for twice the work), or "float32" (the slow yardstick of both).
    """

    cdef Plan plan
    cdef const kernels_t *kernels
    cdef scratch_t *scratch
    cdef readonly int n_batch, n_threads
    cdef int64_t n_ctx

    def __init__(self, Plan plan, *, int n_batch, int n_threads, int64_t n_ctx, isa=None, str activations="int8"):
        how = {"int8": ACTIVATIONS_INT8, "int8x2": ACTIVATIONS_INT8X2, "float32": ACTIVATIONS_FLOAT}.get(activations)
        if how is None:
            raise ValueError(f"activations {activations!r}; allowed are int8, int8x2 and float32")
        if not 1 <= n_threads <= MAX_THREADS:
            raise ValueError(f"{n_threads} threads, allowed are 1..{MAX_THREADS}")
        if n_batch < 1 or plan.p.n_ops == 0 or plan.p.output.data == NULL:
            raise ValueError("an engine needs a finished plan and a batch of at least one token")
        self.kernels = table_of(isa)
        self.plan = plan
        self.n_batch, self.n_threads, self.n_ctx = n_batch, n_threads, n_ctx
        self.scratch = scratch_new(&plan.p, self.kernels, n_batch, n_threads, n_ctx, how)
        if self.scratch == NULL:
            raise ResourceError(f"no memory for a batch of {n_batch} tokens and {n_threads} threads")

    def __dealloc__(self):
        scratch_free(self.scratch)

    @property
    def isa(self) -> str:
        return self.kernels.name.decode()

    def step(self, tokens, segments, *, logits_of=(), wanted=None):
        """Runs the plan over tokens (int32 [n], n <= n_batch) and appends to the caches.

        segments: (cache, n, pos) each; their n rows follow one another. logits_of: rows whose next-token logits are
        wanted. wanted: token ids, one for each row of logits_of: return log-probabilities [n] of these instead of
        logits [n, n_vocab]. Raises NumericError when a result is not finite, ResourceError without threads, and what a
        signal handler raises.
        """
        cdef int32_t[::1] ids = np.ascontiguousarray(tokens, np.int32)
        cdef int32_t[::1] rows = np.ascontiguousarray(logits_of, np.int32)
        cdef int32_t[::1] targets = np.ascontiguousarray(() if wanted is None else wanted, np.int32)
        cdef int64_t n_vocab = self.plan.p.output.rows
        cdef step_t s
        cdef Poll poll = Poll()
        cdef int status
        memset(&s, 0, sizeof(s))
        if not 1 <= ids.shape[0] <= self.n_batch:
            raise ValueError(f"a step of {ids.shape[0]} tokens, allowed are 1..{self.n_batch}")
        if np.min(ids) < 0 or np.max(ids) >= n_vocab:
            raise ValueError(f"token ids must lie in 0..{n_vocab - 1}")
        if rows.shape[0] > ids.shape[0] or (rows.shape[0] and (np.min(rows) < 0 or np.max(rows) >= ids.shape[0])):
            raise ValueError(f"at most {ids.shape[0]} rows in 0..{ids.shape[0] - 1}")
        if wanted is not None and (targets.shape[0] != rows.shape[0] or (
                rows.shape[0] and (np.min(targets) < 0 or np.max(targets) >= n_vocab))):
            raise ValueError(f"one wanted token id in 0..{n_vocab - 1} for each row")
        s.segment = self.lay_segments(segments, ids.shape[0], &s.n_segments)
        try:
            s.plan, s.kernels, s.scratch = &self.plan.p, self.kernels, self.scratch
            s.token, s.n_tokens = &ids[0], ids.shape[0]
            result = None
            if rows.shape[0]:
                result = self.lay_head(&s, rows, targets, wanted is not None)
            with nogil:
                status = step_run(&s, poll_signals, <void *>poll)
        finally:
            free(<void *>s.segment)
        if poll.error is not None:
            raise poll.error
        if status:
            raise ResourceError(f"{self.n_threads} threads could not be started: {os.strerror(status)}")
        if not s.finite:
            raise NumericError("the model's output is not finite: its weights or hyper-parameters are damaged")
        return result

    cdef const segment *lay_segments(self, segments, int n_tokens, int *n) except NULL:
        cdef segment *out = <segment *>calloc(len(segments) + 1, sizeof(segment))
        cdef Cache cache
        cdef int row = 0
        if out == NULL:
            raise MemoryError
        try:
            for i, (cache, count, pos) in enumerate(segments):
                if (count < 1 or pos < 0 or pos + count > cache.c.n_ctx or cache.c.n_ctx > self.n_ctx
                        or cache.plan is not self.plan):
                    raise ValueError(f"{count} tokens at position {pos} of a cache of {cache.c.n_ctx}")
                out[i].cache, out[i].row, out[i].n, out[i].pos = &cache.c, row, count, pos
                row += count
            if row != n_tokens:
                raise ValueError(f"segments of {row} tokens for {n_tokens}")
        except BaseException:
            free(out)
            raise
        n[0] = len(segments)
        return out

    cdef object lay_head(self, step_t *s, int32_t[::1] rows, int32_t[::1] targets, bint logprob):
        cdef float[:, ::1] logits
        cdef float[::1] logprobs
        s.head_row, s.n_head_rows = &rows[0], rows.shape[0]
        if logprob:
            logprobs = np.empty(rows.shape[0], np.float32)
            s.head, s.wanted, s.logprob = HEAD_LOGPROB, &targets[0], &logprobs[0]
            return np.asarray(logprobs)
        logits = np.empty((rows.shape[0], self.plan.p.output.rows), np.float32)
        s.head, s.logits = HEAD_LOGITS, &logits[0, 0]
        return np.asarray(logits)
