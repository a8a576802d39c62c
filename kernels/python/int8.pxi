# The int8 kernels of every instruction set, on numpy arrays.


cdef int quantized_format(str name) except -1:
    cdef int f = format_of(name)
    if format_info[f].group == 0:
        raise ValueError(f"{name} holds plain numbers, which meet no int8 activations")
    return f


cdef class Q8:
    """int8 activations of some tokens: q [n_tokens, k], scale [n_tokens, k / 32], sum [n_tokens, k / 16]."""

    cdef readonly object q, scale, sum
    cdef q8_row row
    cdef readonly int n_tokens
    cdef readonly int64_t k

    def __init__(self, q, scale, sum):
        self.q, self.scale, self.sum = q, scale, sum
        self.n_tokens, self.k = q.shape
        cdef int8_t[:, ::1] q_view = q
        cdef float[:, ::1] scale_view = scale
        cdef int16_t[:, ::1] sum_view = sum
        self.row = q8_row(&q_view[0, 0], &scale_view[0, 0], &sum_view[0, 0])


def quantize(str isa, const float[:, ::1] x) -> Q8:
    """Activations x [n_tokens, k] as int8; k is a multiple of 32."""
    cdef const kernels_t *table = table_of(isa)
    cdef int64_t n = x.shape[0], k = x.shape[1], t
    if k % 32 or not k or not n:
        raise ValueError(f"x has shape ({n}, {k}); allowed are whole groups of 32")
    out = Q8(np.empty((n, k), np.int8), np.empty((n, k // 32), np.float32), np.empty((n, k // 16), np.int16))
    for t in range(n):
        table.quantize(&x[t, 0], k, q8_token((<Q8>out).row, t, k))
    return out


cdef int _check(int format, const uint8_t[::1] rows, int64_t n_rows, int64_t k) except -1:
    if k % format_info[format].block or n_rows < 1 or rows.shape[0] != n_rows * row_bytes(format, k):
        raise ValueError(f"{rows.shape[0]} bytes are not {n_rows} rows of {k} weights")
    return 0


def has_dot(str isa, str format) -> bool:
    """Whether a fused dot exists."""
    return table_of(isa).dot[quantized_format(format)] != NULL


def dot(str isa, str format, const uint8_t[::1] rows, int n_rows, Q8 x):
    """Products of n_rows rows of blocks with the tokens of x, by the fused kernel: float32 [n_tokens, n_rows]."""
    cdef const kernels_t *table = table_of(isa)
    cdef int f = quantized_format(format)
    _check(f, rows, n_rows, x.k)
    if table.dot[f] == NULL:
        raise ValueError(f"{isa} has no fused dot for {format}")
    out = np.empty((x.n_tokens, n_rows), np.float32)
    cdef float[:, ::1] out_view = out
    with nogil:
        table.dot[f](&rows[0], n_rows, x.k, x.row, x.n_tokens, &out_view[0, 0], n_rows)
    return out


cdef class _Panel:
    cdef object code, scale, factor, min
    cdef panel panel

    def __init__(self, int format, int64_t k):
        groups = k // format_info[format].group
        self.code, self.scale = np.empty((PANEL_ROWS, k), np.uint8), np.empty((PANEL_ROWS, groups), np.float32)
        self.factor = np.full((PANEL_ROWS, k // 256 + 1), np.inf, np.float32)
        self.min = np.full((PANEL_ROWS, groups), np.inf, np.float32)
        cdef uint8_t[:, ::1] code = self.code
        cdef float[:, ::1] scale = self.scale
        cdef float[:, ::1] factor = self.factor
        cdef float[:, ::1] min = self.min
        self.panel = panel(&code[0, 0], &scale[0, 0], &factor[0, 0], &min[0, 0], k, 0, 0, format_info[format].group, 0, 0,
                           format_has_factor(format), format_has_min(format))

    cdef void fill(self, const kernels_t *table, int format, const uint8_t *rows, int n_rows, bint folded) noexcept nogil:
        """Unpacks rows, folded if that is asked for and the format can be."""
        cdef panel *p = &self.panel
        cdef int64_t groups = p.k // format_info[format].group
        cdef int r
        folded = folded and table.fold[format] != NULL
        p.n_rows = n_rows
        p.group = FOLDED if folded else format_info[format].group
        p.bias = folded_bias(format) if folded else format_info[format].bias
        p.max_code = 255 if folded else format_info[format].max_code
        for r in range(n_rows):
            table.unpack[format](rows + r * row_bytes(format, p.k), p.k, p.code + r * p.k, p.scale + r * groups,
                                 p.factor + r * (p.k // 256), p.min + r * groups)
            if folded:
                table.fold[format](p.k, p.code + r * p.k, p.scale + r * groups)


def fold(str isa, str format, const uint8_t[::1] row):
    """Codes uint8 [k], their bias and factors float32 [k / 256] of one row, folded; None where that can't be."""
    cdef const kernels_t *table = table_of(isa)
    cdef int f = quantized_format(format)
    cdef int64_t k = row.shape[0] // format_info[f].bytes * format_info[f].block
    _check(f, row, 1, k)
    if table.fold[f] == NULL:
        return None
    cdef _Panel p = _Panel(f, k)
    p.fill(table, f, &row[0], 1, True)
    return p.code[0], p.panel.bias, p.factor.reshape(-1)[: k // 256]


def dot_codes(str isa, str format, const uint8_t[::1] rows, int n_rows, Q8 x):
    """As dot for the first token of x, but by unpacking: float32 [n_rows]."""
    cdef const kernels_t *table = table_of(isa)
    cdef int f = quantized_format(format), r
    _check(f, rows, n_rows, x.k)
    cdef _Panel p = _Panel(f, x.k)
    out = np.empty(n_rows, np.float32)
    cdef float[::1] out_view = out
    for r in range(0, n_rows, PANEL_ROWS):
        p.fill(table, f, &rows[r * row_bytes(f, x.k)], min(PANEL_ROWS, n_rows - r), False)
        table.dot_codes(&p.panel, x.row, &out_view[r])
    return out


cdef class _Tiles:
    """All tokens of x in tiles, which lie one after the other in 64-byte aligned memory."""

    cdef object memory
    cdef q8_tile first
    cdef int64_t size

    def __init__(self, str isa, Q8 x):
        cdef const kernels_t *table = table_of(isa)
        cdef int lanes = table.lanes, t
        cdef int64_t n = (x.n_tokens + lanes - 1) // lanes
        self.size = lanes * x.k
        self.memory = np.empty(n * self.size * 3 // 2 + 64, np.uint8)
        cdef uint8_t[::1] view = self.memory
        cdef uint8_t *start = &view[64 - <int64_t>&view[0] % 64]
        self.first = q8_tile(<int8_t *>start, <float *>(start + n * self.size),
                             <int32_t *>(start + n * self.size + n * self.size // 8))
        for t in range(0, x.n_tokens, lanes):
            table.pack_q8(q8_token(x.row, t, x.k), min(lanes, x.n_tokens - t), x.k, self.at(t // lanes))

    cdef q8_tile at(self, int64_t i):
        i *= self.size
        return q8_tile(self.first.q + i, self.first.scale + i // 32, self.first.sum + i // 16)


def gemm(str isa, str format, const uint8_t[::1] rows, int64_t n_rows, Q8 x):
    """Products of rows of blocks with all tokens of x, as a prompt is computed: float32 [n_tokens, n_rows]."""
    cdef const kernels_t *table = table_of(isa)
    cdef int f = quantized_format(format), at_once = table.lanes * table.gemm_tiles, n, t
    cdef int64_t r
    _check(f, rows, n_rows, x.k)
    cdef _Panel p = _Panel(f, x.k)
    cdef _Tiles tiles = _Tiles(isa, x)
    cdef q8_tile tile
    out = np.empty((x.n_tokens, n_rows), np.float32)
    cdef float[:, ::1] out_view = out
    for r in range(0, n_rows, PANEL_ROWS):
        n = min(PANEL_ROWS, n_rows - r)
        p.fill(table, f, &rows[r * row_bytes(f, x.k)], n, True)
        for t in range(0, x.n_tokens, at_once):
            tile = tiles.at(t // table.lanes)
            table.gemm(&p.panel, &tile, min(at_once, x.n_tokens - t), &out_view[t, r], n_rows)
    return out
