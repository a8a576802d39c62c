# Weights and plans: what a model is, immutable once it is filled. Every shape is checked here.


cdef class Weight:
    """A matrix of `rows` rows of `cols` weights each, in block format `format`, read in place from `data` (kept alive).

    name: the tensor it is, or is a part of, in its file.
    Raises ValueError when the row length is no multiple of the format's block, and when `data` has not exactly the
    bytes of the matrix.
    """

    cdef const uint8_t[::1] buffer
    cdef weight w
    cdef readonly str name

    def __init__(self, const uint8_t[::1] data, str format, int64_t rows, int64_t cols, str name=""):
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
        self.name = name

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
        return Weight(self.buffer[first * n:last * n], self.format, last - first, self.w.cols, self.name)


class Operation(NamedTuple):
    """What a plan says of one of its operations.

    kind: "embed", "linear", "gated", "attention", "norm" or "head". src: the slot it reads, -1 for embed and attention.
    norm, eps: RMSNorm of src before that, or None. weights: the names of its matrices.
    """

    kind: str
    src: int
    norm: object
    eps: float
    weights: tuple


CACHE_TYPES = ("f16", "q8_0", "f32")


cdef int cache_format(str cache_type) except -1:
    """The block format that a cache of this type holds keys and values in."""
    if cache_type not in CACHE_TYPES:
        raise ValueError(f"cache_type = {cache_type!r}; allowed are {', '.join(CACHE_TYPES)}")
    return format_of(cache_type.upper())


cdef class Plan:
    """A model's operations in order. Filled once by models._graph, then immutable and shared by all its sessions.

    widths: floats a token in each slot. ropes: (frequencies, those of caches of more than n_ctx_short positions,
    n_ctx_short, magnitude, interleaved) each, frequencies float64 [n_pairs].
    """

    cdef plan_t p
    cdef list keep          # weights and vectors the C side points into
    cdef list listed        # an Operation for each op, and one for the head
    cdef int capacity
    cdef bint unreadable    # some weights could not be read, and zeros took their place
    cdef int64_t n_ids      # token ids that every embedding has a row for

    def __cinit__(self):
        memset(&self.p, 0, sizeof(plan_t))

    def __init__(self, widths, ropes=()):
        if not all(1 <= width <= MAX_FLOATS for width in widths):
            raise ValueError(f"slots of 1..{MAX_FLOATS} floats are supported, not {max(widths)}")
        self.keep = []
        self.listed = []
        self.n_ids = MAX_CTX
        self.p.n_slots = len(widths)
        self.p.width = <int *>calloc(len(widths), sizeof(int))
        if self.p.width == NULL:
            raise MemoryError
        for i, width in enumerate(widths):
            self.p.width[i] = width
        if len(ropes) > MAX_ROPES:
            raise ValueError(f"{len(ropes)} kinds of rope in one model, {MAX_ROPES} are supported")
        cdef double[::1] freq, freq_long
        for i, (frequencies, frequencies_long, n_ctx_short, magnitude, interleaved) in enumerate(ropes):
            freq = np.ascontiguousarray(frequencies, np.float64)
            freq_long = np.ascontiguousarray(frequencies_long, np.float64)
            if not 1 <= freq.shape[0] == freq_long.shape[0] <= MAX_FLOATS:
                raise ValueError(f"a rope of {freq.shape[0]} pairs, and of {freq_long.shape[0]} in long contexts")
            self.keep += [freq, freq_long]
            self.p.rope[i].freq, self.p.rope[i].freq_long = &freq[0], &freq_long[0]
            self.p.rope[i].n_ctx_short = n_ctx_short
            self.p.rope[i].n_pairs = freq.shape[0]
            self.p.rope[i].magnitude = magnitude
            self.p.rope[i].interleaved = interleaved
        self.p.n_ropes = len(ropes)

    def __dealloc__(self):
        free(self.p.op)
        free(self.p.width)
        free(self.p.layer)
        free(self.p.weight_range)

    cdef int add(self, op_t op) except -1:
        """Appends an operation, whose checks are done by then."""
        cdef op_t *bigger
        if self.p.n_ops == self.capacity:
            bigger = <op_t *>calloc(2 * self.capacity + 64, sizeof(op_t))
            if bigger == NULL:
                raise MemoryError
            for i in range(self.p.n_ops):
                bigger[i] = self.p.op[i]
            free(self.p.op)
            self.p.op = bigger
            self.capacity = 2 * self.capacity + 64
        self.p.op[self.p.n_ops] = op
        self.p.n_ops += 1
        return 0

    cdef int keep_weight(self, Weight w) except -1:
        """Keeps the memory of w, and guards it while the plan runs."""
        cdef int n = self.p.n_weight_ranges
        ranges = <address_range *>realloc(self.p.weight_range, (n + 1) * sizeof(address_range))
        if ranges == NULL:
            raise MemoryError
        self.keep.append(w)
        ranges[n].start = <size_t>w.w.data
        ranges[n].end = ranges[n].start + w.w.rows * row_bytes(w.w.format, w.w.cols)
        self.p.weight_range = ranges
        self.p.n_weight_ranges = n + 1
        self.p.max_cols = max(self.p.max_cols, w.w.cols)
        return 0

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

    cdef int distinct(self, slots) except -1:
        """Threads write some of these while others still read: no two may be the same."""
        if len(set(slots)) < len(slots):
            raise ValueError(f"an operation reads and writes slots {slots}, which must differ")
        return 0

    cdef int set_target(self, target_t *t, Weight w, bias, int slot, int64_t cols) except -1:
        if w is None or w.w.cols != cols or self.width(slot) != w.w.rows:
            raise ValueError(f"a matrix from {cols} to {self.width(slot)} values is needed, not {w}")
        self.keep_weight(w)
        t.weight = w.w
        t.bias = self.vector(bias, w.w.rows)
        t.slot = slot
        return 0

    def embed(self, Weight w not None, int dst, float scale) -> None:
        """dst = scale * row of w for each token."""
        if self.width(dst) != w.w.cols:
            raise ValueError(f"embedding rows of {w.w.cols} values into {self.width(dst)}")
        self.keep_weight(w)
        self.n_ids = min(self.n_ids, w.w.rows)
        cdef op_t op
        memset(&op, 0, sizeof(op))
        op.kind = OP_EMBED
        op.target[0].weight = w.w
        op.target[0].slot = dst
        op.scale = scale
        self.add(op)
        self.listed.append(Operation("embed", -1, None, 0.0, (w.name,)))

    def linear(self, int src, norm, float eps, targets, bint accumulate) -> None:
        """slot (+)= w @ rms_norm(src) + bias for each (w, bias, slot) of targets; norm None: src as it is."""
        if not 1 <= len(targets) <= MAX_TARGETS:
            raise ValueError(f"{len(targets)} projections of one input, 1..{MAX_TARGETS} are supported")
        self.distinct((src, *(slot for _, _, slot in targets)))
        cdef op_t op
        memset(&op, 0, sizeof(op))
        op.kind = OP_LINEAR
        op.src, op.eps, op.accumulate = src, eps, accumulate
        op.norm = self.vector(norm, self.width(src))
        op.n_targets = len(targets)
        for i, (w, bias, slot) in enumerate(targets):
            self.set_target(&op.target[i], w, bias, slot, self.width(src))
        self.add(op)
        self.listed.append(Operation("linear", src, norm, eps, tuple(w.name for w, _, _ in targets)))

    def gated(self, int src, norm, float eps, gate, up, int dst, str activation) -> None:
        """dst = activation(gate @ x) * (up @ x) of x = rms_norm(src).

        gate and up are (w, bias), activation is "silu" or "gelu".
        """
        self.distinct((src, dst))
        cdef op_t op
        memset(&op, 0, sizeof(op))
        op.kind = OP_GATED
        op.src, op.eps = src, eps
        op.norm = self.vector(norm, self.width(src))
        op.n_targets = 2
        self.set_target(&op.target[0], gate[0], gate[1], dst, self.width(src))
        self.set_target(&op.target[1], up[0], up[1], dst, self.width(src))
        op.activation = {"silu": ACT_SILU, "gelu": ACT_GELU}[activation]
        self.add(op)
        self.listed.append(Operation("gated", src, norm, eps, (gate[0].name, up[0].name)))

    def norm(self, int src, norm not None, float eps, int dst, bint accumulate) -> None:
        """dst (+)= rms_norm(src)."""
        if self.width(src) != self.width(dst):
            raise ValueError(f"norm from {self.width(src)} to {self.width(dst)} values")
        cdef op_t op
        memset(&op, 0, sizeof(op))
        op.kind = OP_NORM
        op.src, op.eps, op.accumulate = src, eps, accumulate
        op.norm = self.vector(norm, self.width(src))
        op.target[0].slot = dst
        self.p.max_cols = max(self.p.max_cols, self.width(src))
        self.add(op)
        self.listed.append(Operation("norm", src, norm, eps, ()))

    def attention(self, int q, int k, int v, int dst, *, int n_head, int n_head_kv, int head_dim, float scale,
                  int rope=-1, int64_t window=0, q_norm=None, k_norm=None, float eps=0) -> None:
        """dst = attention of q over the cache after k and v were appended; heads are normed and rotated first."""
        if n_head < 1 or n_head_kv < 1 or n_head % n_head_kv or head_dim < 1 or window < 0:
            raise ValueError(f"{n_head} query heads of {head_dim} values over {n_head_kv} KV heads, window {window}")
        self.distinct((q, k, v, dst))
        for slot, heads in ((q, n_head), (k, n_head_kv), (v, n_head_kv), (dst, n_head)):
            if self.width(slot) != <int64_t>heads * head_dim:
                raise ValueError(f"{heads} heads of {head_dim} in a slot of {self.width(slot)}")
        if not -1 <= rope < self.p.n_ropes or (rope >= 0 and 2 * self.p.rope[rope].n_pairs > head_dim):
            raise ValueError(f"rope {rope} does not fit heads of {head_dim}")
        cdef op_t op
        memset(&op, 0, sizeof(op))
        op.kind = OP_ATTENTION
        op.target[0].slot = dst
        op.eps = eps
        op.attention.q, op.attention.k, op.attention.v = q, k, v
        op.attention.n_head, op.attention.n_head_kv, op.attention.head_dim = n_head, n_head_kv, head_dim
        op.attention.layer = self.p.n_layers
        op.attention.rope, op.attention.window, op.attention.scale = rope, window, scale
        op.attention.q_norm = self.vector(q_norm, head_dim)
        op.attention.k_norm = self.vector(k_norm, head_dim)
        self.add_layer(n_head_kv, head_dim)
        self.add(op)
        self.listed.append(Operation("attention", -1, None, 0.0, ()))

    cdef int add_layer(self, int n_head_kv, int head_dim) except -1:
        cdef cache_layer *layers = <cache_layer *>calloc(self.p.n_layers + 1, sizeof(cache_layer))
        if layers == NULL:
            raise MemoryError
        for i in range(self.p.n_layers):
            layers[i] = self.p.layer[i]
        free(self.p.layer)
        self.p.layer = layers
        layers[self.p.n_layers].n_head_kv, layers[self.p.n_layers].head_dim = n_head_kv, head_dim
        self.p.n_layers += 1
        return 0

    def head(self, int src, norm, float eps, Weight output not None, float softcap) -> None:
        """logits = output @ rms_norm(src), softened by softcap if > 0. Ends the plan."""
        if self.width(src) != output.w.cols or output.w.rows > MAX_CTX:
            raise ValueError(f"an output matrix of {output.w.rows} x {output.w.cols} for {self.width(src)} values")
        self.keep_weight(output)
        self.p.src, self.p.eps, self.p.softcap = src, eps, softcap
        self.p.norm = self.vector(norm, self.width(src))
        self.p.output = output.w
        self.listed.append(Operation("head", src, norm, eps, (output.name,)))

    @property
    def n_vocab(self) -> int:
        return self.p.output.rows

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Its operations in order, the head last: what a range given to `Engine.step` counts."""
        return tuple(self.listed)

    @property
    def stream(self) -> int:
        """The slot of the residual stream, which every layer adds to and the head reads."""
        return self.p.src

    def cache_bytes(self, n_ctx, str cache_type) -> int:
        """Bytes of a cache of n_ctx positions: exact for any n_ctx, also one that no machine could hold."""
        return n_ctx * int(cache_bytes(&self.p, 1, cache_format(cache_type)))

    def scratch_bytes(self) -> int:
        """Bytes a token of a batch takes in all slots and as prepared activations."""
        return sum(4 * self.p.width[i] for i in range(self.p.n_slots)) + 2 * self.p.max_cols

    def matrices(self) -> list[tuple[str, int, int]]:
        """Format, rows and columns of each matrix that tokens are multiplied with; the last one is the head's."""
        found = []
        for i in range(self.p.n_ops):
            for j in range(self.p.op[i].n_targets):
                found.append(describe(self.p.op[i].target[j].weight))
        return [*found, describe(self.p.output)]

    def attentions(self) -> list[tuple[int, int, int, int]]:
        """n_head, n_head_kv, head_dim and window (0: none) of each layer that has attention."""
        found = []
        for i in range(self.p.n_ops):
            if self.p.op[i].kind == OP_ATTENTION:
                a = self.p.op[i].attention
                found.append((a.n_head, a.n_head_kv, a.head_dim, a.window))
        return found


cdef tuple describe(weight w):
    return format_info[w.format].name.decode(), w.rows, w.cols
