# The float kernels of every instruction set.
#
# A function here is the slot of that name in kernel_table.h, called once (attention_prefill: once for every tile of tokens;
# gemm_float and gemm_bf16 pack the tokens and then take PANEL_ROWS rows at a time, as a prompt is computed). Results are
# written to `out`. ValueError for an instruction set this machine lacks and for sizes that do not fit each other.


cdef int check(bint fits, str what) except -1:
    if not fits:
        raise ValueError(f"sizes do not fit: want {what}")
    return 0


cdef class Scratch:
    """Uninitialised floats, 64-byte aligned."""
    cdef void *memory
    cdef float *start

    def __cinit__(self, int64_t n_floats):
        self.memory = PyMem_Malloc(n_floats * sizeof(float) + 64)
        if self.memory == NULL:
            raise MemoryError(f"{n_floats} floats of scratch")
        self.start = <float *>((<uintptr_t>self.memory + 63) & ~<uintptr_t>63)

    def __dealloc__(self):
        PyMem_Free(self.memory)


def lanes(isa: str) -> int:
    return table_of(isa).lanes


def dot_float(isa: str, format: str, const uint8_t[::1] rows, const float[:, ::1] x, float[:, ::1] out) -> None:
    cdef const kernels_t *table = table_of(isa)
    cdef int f = format_of(format)
    if table.dot_float[f] == NULL:
        raise ValueError(f"{format} weights have no dot with floats; F32, F16 and BF16 have")
    check(x.shape[0] == out.shape[0] and rows.shape[0] == out.shape[1] * row_bytes(f, x.shape[1]),
          "rows [n_rows, k], x [n_tokens, k], out [n_tokens, n_rows]")
    if out.shape[0] and out.shape[1]:
        with nogil:
            table.dot_float[f](&rows[0], <int>out.shape[1], x.shape[1], &x[0, 0], <int>x.shape[0], &out[0, 0], out.shape[1])


def pack_float(isa: str, const float[:, ::1] x, float[:, ::1] out) -> None:
    cdef const kernels_t *table = table_of(isa)
    check(0 < x.shape[0] <= table.lanes and out.shape[0] == x.shape[1] and out.shape[1] == table.lanes
          and <uintptr_t>&out[0, 0] % 64 == 0, "x [1..lanes, k], out [k, lanes] aligned to 64 bytes")
    with nogil:
        table.pack_float(&x[0, 0], x.shape[1], <int>x.shape[0], x.shape[1], &out[0, 0])


def gemm_float(isa: str, const float[:, ::1] rows, const float[:, ::1] x, float[:, ::1] out) -> None:
    cdef const kernels_t *table = table_of(isa)
    cdef int64_t k = x.shape[1], n_tokens = x.shape[0], n_rows = rows.shape[0], t = 0, r = 0
    check(n_tokens > 0 and n_rows > 0 and k > 0 and rows.shape[1] == k and out.shape[0] == n_tokens and out.shape[1] == n_rows,
          "rows [n_rows, k], x [n_tokens, k], out [n_tokens, n_rows]")
    cdef Scratch tiles = Scratch((n_tokens + table.lanes) * k)
    with nogil:
        while t < n_tokens:
            table.pack_float(&x[t, 0], k, <int>min(n_tokens - t, <int64_t>table.lanes), k, tiles.start + t * k)
            t += table.lanes
        while r < n_rows:
            table.gemm_float(&rows[r, 0], <int>min(n_rows - r, <int64_t>PANEL_ROWS), k, tiles.start, <int>n_tokens,
                             &out[0, r], n_rows)
            r += PANEL_ROWS


def has_bf16(isa: str) -> bool:
    return table_of(isa).gemm_bf16 != NULL


def pack_bf16(isa: str, const float[:, ::1] x, uint16_t[:, :, ::1] out) -> None:
    cdef const kernels_t *table = table_of(isa)
    check(table.pack_bf16 != NULL and 0 < x.shape[0] <= table.lanes and x.shape[1] % 2 == 0 and out.shape[0] == x.shape[1] // 2
          and out.shape[1] == table.lanes and out.shape[2] == 2 and <uintptr_t>&out[0, 0, 0] % 64 == 0,
          "has_bf16(isa), x [1..lanes, k], k even, out [k / 2, lanes, 2] aligned to 64 bytes")
    with nogil:
        table.pack_bf16(&x[0, 0], x.shape[1], <int>x.shape[0], x.shape[1], &out[0, 0, 0])


def gemm_bf16(isa: str, const uint8_t[::1] rows, const float[:, ::1] x, float[:, ::1] out) -> None:
    cdef const kernels_t *table = table_of(isa)
    cdef int64_t k = x.shape[1], n_tokens = x.shape[0], n_rows = out.shape[1], t = 0, r = 0
    check(table.gemm_bf16 != NULL and n_tokens > 0 and n_rows > 0 and k > 0 and k % 2 == 0 and rows.shape[0] == 2 * n_rows * k
          and out.shape[0] == n_tokens, "has_bf16(isa), rows of n_rows x k weights, x [n_tokens, k], k even, out [n_tokens, n_rows]")
    cdef Scratch tiles = Scratch((n_tokens + table.lanes) * k // 2)
    cdef uint16_t *start = <uint16_t *>tiles.start
    with nogil:
        while t < n_tokens:
            table.pack_bf16(&x[t, 0], k, <int>min(n_tokens - t, <int64_t>table.lanes), k, start + t * k)
            t += table.lanes
        while r < n_rows:
            table.gemm_bf16(&rows[2 * r * k], <int>min(n_rows - r, <int64_t>PANEL_ROWS), k, start, <int>n_tokens,
                            &out[0, r], n_rows)
            r += PANEL_ROWS


def dot_bf16(isa: str, const uint8_t[::1] rows, const float[:, ::1] x, float[:, ::1] out) -> None:
    cdef const kernels_t *table = table_of(isa)
    check(table.dot_bf16 != NULL and x.shape[1] > 0 and x.shape[1] % 2 == 0 and 0 < x.shape[0] == out.shape[0] and out.shape[1] > 0
          and rows.shape[0] == 2 * out.shape[1] * x.shape[1],
          "has_bf16(isa), rows [n_rows, k], x [n_tokens, k], out [n_tokens, n_rows], k even")
    with nogil:
        table.dot_bf16(&rows[0], <int>out.shape[1], x.shape[1], &x[0, 0], <int>x.shape[0], &out[0, 0], out.shape[1])


def f16_to_float(isa: str, const uint16_t[::1] x, float[::1] out) -> None:
    check(x.shape[0] == out.shape[0] > 0, "x and out of one length")
    table_of(isa).f16_to_float(&x[0], x.shape[0], &out[0])


def float_to_f16(isa: str, const float[::1] x, uint16_t[::1] out) -> None:
    check(x.shape[0] == out.shape[0] > 0, "x and out of one length")
    table_of(isa).float_to_f16(&x[0], x.shape[0], &out[0])


def rms_norm(isa: str, const float[::1] x, const float[::1] weight, float eps, float[::1] out) -> None:
    check(x.shape[0] == weight.shape[0] == out.shape[0] > 0, "x, weight and out of one length")
    table_of(isa).rms_norm(&x[0], &weight[0], x.shape[0], eps, &out[0])


def rope(isa: str, float[::1] head, const float[::1] cos, const float[::1] sin, bint interleaved) -> None:
    check(cos.shape[0] == sin.shape[0] > 0 and 2 * cos.shape[0] <= head.shape[0],
          "cos and sin [n_pairs], head [2 * n_pairs] or longer")
    table_of(isa).rope(&head[0], <int>cos.shape[0], &cos[0], &sin[0], interleaved)


def silu_mul(isa: str, const float[::1] gate, const float[::1] up, float[::1] out) -> None:
    check(gate.shape[0] == up.shape[0] == out.shape[0] > 0, "gate, up and out of one length")
    table_of(isa).silu_mul(&gate[0], &up[0], gate.shape[0], &out[0])


def gelu_mul(isa: str, const float[::1] gate, const float[::1] up, float[::1] out) -> None:
    check(gate.shape[0] == up.shape[0] == out.shape[0] > 0, "gate, up and out of one length")
    table_of(isa).gelu_mul(&gate[0], &up[0], gate.shape[0], &out[0])


def relu_mul(isa: str, const float[::1] gate, const float[::1] up, float[::1] out) -> None:
    check(gate.shape[0] == up.shape[0] == out.shape[0] > 0, "gate, up and out of one length")
    table_of(isa).relu_mul(&gate[0], &up[0], gate.shape[0], &out[0])


def clamped_silu_mul(isa: str, const float[::1] gate, const float[::1] up, float[::1] out) -> None:
    check(gate.shape[0] == up.shape[0] == out.shape[0] > 0, "gate, up and out of one length")
    table_of(isa).clamped_silu_mul(&gate[0], &up[0], gate.shape[0], &out[0])


def sigmoid_mul(isa: str, const float[::1] gate, const float[::1] x, float[::1] out) -> None:
    check(gate.shape[0] == x.shape[0] == out.shape[0] > 0, "gate, x and out of one length")
    table_of(isa).sigmoid_mul(&gate[0], &x[0], gate.shape[0], &out[0])


def add(isa: str, float[::1] x, const float[::1] y) -> None:
    check(x.shape[0] == y.shape[0] > 0, "x and y of one length")
    table_of(isa).add(&x[0], &y[0], x.shape[0])


def scale(isa: str, float[::1] x, float s) -> None:
    check(x.shape[0] > 0, "x of one element or more")
    table_of(isa).scale(&x[0], s, x.shape[0])


def max_sum_exp(isa: str, const float[::1] x) -> tuple[float, float]:
    cdef float greatest
    cdef double total
    check(x.shape[0] > 0, "x of one element or more")
    table_of(isa).max_sum_exp(&x[0], x.shape[0], &greatest, &total)
    return greatest, total


def divergence(
    isa: str, const float[::1] x, double log_sum_x, const float[::1] y, double log_sum_y
) -> tuple[float, float, float]:
    cdef double sums[3]
    check(x.shape[0] == y.shape[0] > 0, "x and y of one length")
    table_of(isa).divergence(&x[0], log_sum_x, &y[0], log_sum_y, x.shape[0], sums)
    return sums[0], sums[1], sums[2]


cdef kv_head kv_of(str format, int head_dim, const uint8_t[:, ::1] k, const uint8_t[:, ::1] v) except *:
    """Keys and values [n_ctx, bytes of a row]."""
    cdef int f = format_of(format)
    check(k.shape[0] == v.shape[0] > 0 and k.shape[1] == v.shape[1] == padded_row_bytes(f, head_dim),
          "k and v [n_ctx, bytes of a row]")
    return kv_head(&k[0, 0], &v[0, 0], f)


def attention_decode(isa: str, format: str, const float[:, ::1] q, const uint8_t[:, ::1] k, const uint8_t[:, ::1] v,
               int64_t first, int64_t last, float scale, float[:, ::1] part, float softcap=0) -> None:
    cdef const kernels_t *table = table_of(isa)
    cdef int n_head = <int>q.shape[0], head_dim = <int>q.shape[1]
    check(n_head > 0 and head_dim > 0 and part.shape[0] == n_head and part.shape[1] == head_dim + 2
          and 0 <= first <= last <= k.shape[0], "q [n_head, head_dim], part [n_head, head_dim + 2]")
    cdef kv_head kv = kv_of(format, head_dim, k, v)
    cdef Scratch scratch = Scratch(attention_scratch(n_head, head_dim))
    with nogil:
        table.attention_decode(&q[0, 0], n_head, head_dim, kv, first, last, scale, softcap, scratch.start, &part[0, 0])


def attention_prefill(isa: str, format: str, const float[:, :, ::1] q, const uint8_t[:, ::1] k, const uint8_t[:, ::1] v,
                int64_t pos0, int64_t window, int64_t first, int64_t last, float scale, float[:, :, ::1] part,
                float softcap=0) -> None:
    cdef const kernels_t *table = table_of(isa)
    cdef int n_head = <int>q.shape[1], head_dim = <int>q.shape[2]
    cdef int64_t n_tokens = q.shape[0], stride = q.shape[1] * q.shape[2], t = 0, n, start
    check(n_tokens > 0 and n_head > 0 and head_dim > 0 and part.shape[0] == n_tokens and part.shape[1] == n_head
          and part.shape[2] == head_dim + 2 and 0 <= pos0 and window >= 0 and 0 <= first <= last <= k.shape[0]
          and pos0 + n_tokens <= k.shape[0], "q [n_tokens, n_head, head_dim], part [n_tokens, n_head, head_dim + 2]")
    cdef kv_head kv = kv_of(format, head_dim, k, v)
    cdef Scratch scratch = Scratch(attention_scratch(n_head, head_dim))
    with nogil:
        while t < n_tokens:
            n = min(n_tokens - t, <int64_t>table.lanes)
            start = max(first, pos0 + t - window + 1) if window else first
            table.attention_prefill(&q[t, 0, 0], stride, <int>n, n_head, head_dim, kv, pos0 + t, window, start,
                              min(last, pos0 + t + n), scale, softcap, scratch.start, &part[t, 0, 0])
            t += n


def combine_splits(isa: str, const float[:, :, ::1] parts, float[:, ::1] out) -> None:
    """Splits [n_splits, n_head, head_dim + 2], merged in their order (merge_split, finish_attention), to [n_head, head_dim]."""
    cdef const kernels_t *table = table_of(isa)
    check(0 < parts.shape[0] and parts.shape[1] == out.shape[0] > 0 and out.shape[1] > 0
          and parts.shape[2] == out.shape[1] + 2, "parts [n_parts, n_head, head_dim + 2], out [n_head, head_dim]")
    cdef int n_head = <int>out.shape[0], head_dim = <int>out.shape[1]
    cdef float[:, ::1] total = np.array(parts[0])
    cdef int64_t i
    for i in range(1, parts.shape[0]):
        table.merge_split(&parts[i, 0, 0], n_head, head_dim, &total[0, 0])
    table.finish_attention(&total[0, 0], n_head, head_dim, &out[0, 0])


def convolve(isa: str, const float[:, ::1] rows, const float[:, ::1] weight, bias, float[::1] out) -> None:
    cdef const kernels_t *table = table_of(isa)
    cdef const float *row[16]
    cdef const float[::1] added = bias
    check(0 < rows.shape[0] == weight.shape[0] <= 16 and 0 < rows.shape[1] == out.shape[0] <= weight.shape[1]
          and (bias is None or added.shape[0] == out.shape[0]), "rows [width, n], weight [width, n or more], bias and out [n]")
    for i in range(rows.shape[0]):
        row[i] = &rows[i, 0]
    table.convolve(row, <int>rows.shape[0], &weight[0, 0], weight.shape[1], NULL if bias is None else &added[0], out.shape[0], &out[0])


def state_floats(n_keys: int, n_values: int) -> int:
    """Floats of a head's state, as linear_attention takes it."""
    return head_state_floats(n_keys, n_values)


def linear_attention(isa: str, const float[:, ::1] q, const float[:, ::1] k, const float[:, ::1] v, const float[::1] decay,
                     const float[::1] rate, bint delta, float[::1] state, float[:, ::1] out, int64_t repeat=1) -> None:
    """The kernel, so often; state: see state_floats, aligned to 64 bytes."""
    cdef const kernels_t *table = table_of(isa)
    cdef linear_head head
    check(q.shape[0] == k.shape[0] == v.shape[0] == decay.shape[0] == rate.shape[0] == out.shape[0] > 0
          and q.shape[1] == k.shape[1] > 0 and v.shape[1] == out.shape[1] > 0
          and state.shape[0] == head_state_floats(k.shape[1], v.shape[1]) and <uintptr_t>&state[0] % 64 == 0,
          "q and k [n_tokens, n_keys], v and out [n_tokens, n_values], decay and rate [n_tokens], state [state_floats] aligned")
    head.n_keys, head.n_values, head.n_tokens, head.delta = <int>k.shape[1], <int>v.shape[1], <int>k.shape[0], delta
    head.q, head.k, head.v, head.qk_stride, head.v_stride = &q[0, 0], &k[0, 0], &v[0, 0], k.shape[1], v.shape[1]
    head.decay, head.rate, head.out, head.out_stride = &decay[0], &rate[0], &out[0, 0], out.shape[1]
    with nogil:
        for _ in range(repeat):
            table.linear_attention(&head, &state[0])
