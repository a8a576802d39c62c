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
    cdef list listed        # an Operation for each op, the head last
    cdef int capacity
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
        for i in range(self.p.n_ops):
            free(<void *>self.p.op[i].parameters)
        free(<void *>self.p.head.parameters)
        free(self.p.op)
        free(self.p.width)
        free(self.p.weight_range)

    def add(self, str kind, reads, writes, matrices=(), *, norm=None, float eps=0, cost=None, **parameters) -> None:
        """Appends an operation: one of kernels/engine/ops/, which says what its operands and parameters mean.

        reads, writes: slots, all different. matrices: (Weight, bias or None) each. norm, eps: RMSNorm of the first slot
        that is read, before anything else. cost: what `Operation.cost` gives, None for what its matrices take. An
        operation that reads no slot reads token ids, and its matrices have a row for each; one that writes none is
        the head, which ends the plan. ValueError for what does not fit together.
        """
        cdef const operation_t *c = operation_of(kind.encode())
        cdef op_t op
        cdef Weight w
        if c == NULL or self.p.head.kind != NULL:
            raise ValueError(f"no operation {kind!r} can be added: " + ("unknown" if c == NULL else "the plan has its head"))
        memset(&op, 0, sizeof(op))
        op.kind = c
        op.n_in, op.n_out, op.n_matrices = len(reads), len(writes), len(matrices)
        if max(len(reads), len(writes), len(matrices)) > MAX_OPERANDS or len({*reads, *writes}) < len(reads) + len(writes):
            raise ValueError(f"{kind}: up to {MAX_OPERANDS} slots, no two the same; not {reads} to {writes}")
        for i, slot in enumerate(reads):
            op.in_[i] = slot
            self.width(slot)
        for i, slot in enumerate(writes):
            op.out[i] = slot
            self.width(slot)
        if norm is not None:
            op.norm = self.vector(norm, self.width(op.in_[0]) if reads else 0)
        op.eps = eps
        for i, (w, bias) in enumerate(matrices):
            if w is None:
                raise ValueError(f"{kind}: no matrix")
            op.matrix[i].weight = w.w
            if bias is not None:
                op.matrix[i].bias = self.vector(bias, w.w.rows)
        op.parameters = self.parameters(c, dict(parameters))
        try:
            self.check(&op, reads, writes, matrices)
            self.append(&op)
        except BaseException:
            free(<void *>op.parameters)
            raise
        for w, _ in matrices:
            self.keep_weight(w)
            if not reads:
                self.n_ids = min(self.n_ids, w.w.rows)
        if norm is not None:
            self.p.max_cols = max(self.p.max_cols, self.width(op.in_[0]))
        shapes = tuple(Matrix(w.name, w.format, w.rows, w.cols) for w, _ in matrices)
        self.listed.append(Operation(kind, tuple(reads), tuple(writes), shapes, norm, eps, parameters, cost))

    cdef void *parameters(self, const operation_t *kind, dict given) except NULL:
        """The struct of an operation's parameters, for `free`."""
        cdef char *out = <char *>calloc(1, kind.parameter_bytes + 1)
        cdef const field_t *field = kind.fields
        cdef vector_t *vector
        if out == NULL:
            raise MemoryError
        try:
            while field != NULL and field.name != NULL:
                value = given.pop(field.name.decode())
                if field.type == FIELD_FLOAT:
                    (<float *>(out + field.offset))[0] = value
                elif field.type == FIELD_VECTOR:
                    if value is not None:
                        vector = <vector_t *>(out + field.offset)
                        vector.n = len(value)
                        vector.data = self.vector(value, vector.n)
                elif field.type == FIELD_CHOICE:
                    (<int64_t *>(out + field.offset))[0] = field.choices.decode().split().index(value)
                else:
                    (<int64_t *>(out + field.offset))[0] = value
                field += 1
            if given:
                raise ValueError(f"{kind.name.decode()} has no parameter {', '.join(given)}")
        except BaseException:
            free(out)
            raise
        return out

    cdef int check(self, const op_t *op, reads, writes, matrices) except -1:
        cdef const char *wanted = op.kind.check(&self.p, op)
        if wanted != NULL:
            slots = [[self.width(slot) for slot in side] for side in (reads, writes)]
            shapes = [(w.rows, w.cols) for w, _ in matrices]
            raise ValueError(f"{op.kind.name.decode()} needs {wanted.decode()}, not slots of {slots[0]} to {slots[1]} values "
                             f"with matrices {shapes}")
        return 0

    cdef int append(self, op_t *op) except -1:
        """Its checks are done by then."""
        if op.kind.position_rows != NULL or op.kind.state_floats != NULL:
            op.state = self.p.n_states
        if op.n_out == 0:
            self.p.head = op[0]
            return 0
        if self.p.n_ops == self.capacity:
            bigger = <op_t *>realloc(self.p.op, (2 * self.capacity + 64) * sizeof(op_t))
            if bigger == NULL:
                raise MemoryError
            self.p.op = bigger
            self.capacity = 2 * self.capacity + 64
        self.p.op[self.p.n_ops] = op[0]
        self.p.n_ops += 1
        self.p.n_states += op.kind.position_rows != NULL or op.kind.state_floats != NULL
        return 0

    cdef int keep_weight(self, Weight w) except -1:
        """Keeps the memory of w, and remembers where it is: steps look whether it could be read."""
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

    cdef const float *vector(self, values, int64_t n) except NULL:
        cdef float[::1] v = np.ascontiguousarray(values, np.float32)
        if v.shape[0] != n or n < 1:
            raise ValueError(f"a vector of {v.shape[0]} values where {n} are needed")
        self.keep.append(v)
        return &v[0]

    def n_long_ropes(self, int64_t n_ctx) -> int:
        """How many ropes have frequencies of long contexts in a cache of n_ctx positions: where that differs, so do keys."""
        cdef int n = 0
        for i in range(self.p.n_ropes):
            rope = &self.p.rope[i]
            n += n_ctx > rope.n_ctx_short and memcmp(rope.freq, rope.freq_long, rope.n_pairs * sizeof(double)) != 0
        return n

    @property
    def n_vocab(self) -> int:
        return self.p.head.matrix[0].weight.rows

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Its operations in order, the head last: what a range given to `Engine.step` counts."""
        return tuple(self.listed)

    @property
    def stream(self) -> int:
        """The slot of the residual stream, which every layer adds to and the head reads."""
        return self.p.head.in_[0]

    def cache_bytes(self, n_ctx, str cache_type) -> int:
        """Bytes of a cache of n_ctx positions: exact for any n_ctx, also one that no machine could hold."""
        return self.state_bytes + n_ctx * int(position_bytes(&self.p, cache_format(cache_type)))

    @property
    def state_bytes(self) -> int:
        """Bytes of a sequence's recurrent states, whatever its positions; 0 for a model without any."""
        return state_bytes(&self.p)

    def scratch_bytes(self) -> int:
        """Bytes a token of a batch takes in all slots and as prepared activations."""
        return sum(4 * self.p.width[i] for i in range(self.p.n_slots)) + 2 * self.p.max_cols
