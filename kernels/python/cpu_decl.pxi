# Cython's view of formats/ and cpu/, and the look-up of a format by name. Both extension modules include it.


cdef extern from "cpu/kernel_table.h" nogil:
    enum:
        N_FORMATS
        PANEL_ROWS
        FOLDED
        MAX_TABLES

    struct format_info_t "format_info":
        const char *name
        int id, block, bytes, group, bias, max_code
    const format_info_t format_info[N_FORMATS]
    int format_has_factor(int format)
    int format_has_min(int format)
    int folded_bias(int format)
    int64_t row_bytes(int format, int64_t k)
    int64_t padded_row_bytes(int format, int64_t k)

    struct q8_row:
        int8_t *q
        float *scale
        int16_t *sum
    q8_row q8_token(q8_row rows, int64_t t, int64_t k)
    struct q8_tile:
        int8_t *q
        float *scale
        int32_t *sum
    struct panel:
        uint8_t *code
        float *scale
        float *factor
        float *min
        int64_t k
        int n_rows, group, min_group, bias, max_code, has_factor, has_min
    struct kv_head:
        const void *k
        const void *v
        int format

    struct linear_head:
        int n_keys, n_values, n_tokens, delta
        const float *q
        const float *k
        const float *v
        int64_t qk_stride, v_stride
        const float *decay
        const float *rate
        float *out
        int64_t out_stride
    int64_t head_state_floats(int64_t n_keys, int64_t n_values)

    struct kernels_t "kernels":
        const char *name
        int lanes, gemm_tiles
        int64_t (*int8_peak)(int64_t n) noexcept nogil
        int64_t (*float_peak)(int64_t n) noexcept nogil
        int64_t (*bf16_peak)(int64_t n) noexcept nogil
        void (*quantize)(const float *x, int64_t k, q8_row out) noexcept nogil
        void (*pack_q8)(q8_row rows, int n_tokens, int64_t k, q8_tile out) noexcept nogil
        void (*dot[N_FORMATS])(const uint8_t *rows, int n_rows, int64_t k, q8_row x, int n_tokens, float *out,
                               int64_t out_stride) noexcept nogil
        void (*dot_codes)(const panel *w, q8_row x, float *out) noexcept nogil
        void (*unpack[N_FORMATS])(const uint8_t *row, int64_t k, uint8_t *code, float *scale, float *factor,
                                  float *min) noexcept nogil
        void (*fold[N_FORMATS])(int64_t k, uint8_t *code, const float *scale) noexcept nogil
        void (*gemm)(const panel *w, const q8_tile *x, int n_tokens, float *out, int64_t out_stride) noexcept nogil
        void (*to_float[N_FORMATS])(const uint8_t *row, int64_t k, float *out) noexcept nogil
        void (*dot_float[N_FORMATS])(const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out,
                                     int64_t out_stride) noexcept nogil
        void (*pack_float)(const float *x, int64_t stride, int n_tokens, int64_t k, float *tile) noexcept nogil
        void (*gemm_float)(const float *rows, int n_rows, int64_t k, const float *tiles, int n_tokens, float *out,
                           int64_t out_stride) noexcept nogil
        void (*pack_bf16)(const float *x, int64_t stride, int n_tokens, int64_t k, uint16_t *tile) noexcept nogil
        void (*gemm_bf16)(const uint8_t *rows, int n_rows, int64_t k, const uint16_t *tiles, int n_tokens, float *out,
                          int64_t out_stride) noexcept nogil
        void (*dot_bf16)(const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out,
                         int64_t out_stride) noexcept nogil
        void (*f16_to_float)(const uint16_t *x, int64_t n, float *out) noexcept nogil
        void (*float_to_f16)(const float *x, int64_t n, uint16_t *out) noexcept nogil
        void (*rms_norm)(const float *x, const float *weight, int64_t n, float eps, float *out) noexcept nogil
        void (*rope)(float *head, int n_pairs, const float *cos, const float *sin, int interleaved) noexcept nogil
        void (*silu_mul)(const float *gate, const float *up, int64_t n, float *out) noexcept nogil
        void (*gelu_mul)(const float *gate, const float *up, int64_t n, float *out) noexcept nogil
        void (*relu_mul)(const float *gate, const float *up, int64_t n, float *out) noexcept nogil
        void (*clamped_silu_mul)(const float *gate, const float *up, int64_t n, float *out) noexcept nogil
        void (*sigmoid_mul)(const float *gate, const float *x, int64_t n, float *out) noexcept nogil
        void (*add)(float *x, const float *y, int64_t n) noexcept nogil
        void (*scale)(float *x, float s, int64_t n) noexcept nogil
        void (*max_sum_exp)(const float *x, int64_t n, float *max, double *sum) noexcept nogil
        void (*divergence)(const float *x, double log_sum_x, const float *y, double log_sum_y, int64_t n, double *sums) noexcept nogil
        void (*attention_decode)(const float *q, int n_head, int head_dim, kv_head kv, int64_t first, int64_t last,
                           float scale, float softcap, float *scratch, float *part) noexcept nogil
        void (*attention_prefill)(const float *q, int64_t q_stride, int n_tokens, int n_head, int head_dim, kv_head kv,
                            int64_t pos0, int64_t window, int64_t first, int64_t last, float scale, float softcap,
                            float *scratch, float *part) noexcept nogil
        void (*merge_split)(const float *split, int n_head, int head_dim, float *total) noexcept nogil
        void (*finish_attention)(const float *total, int n_head, int head_dim, float *out) noexcept nogil
        void (*convolve)(const float *const *row, int width, const float *weight, int64_t n_channels, const float *bias, int64_t n,
                         float *out) noexcept nogil
        void (*linear_attention)(const linear_head *head, float *state) noexcept nogil
    int64_t attention_scratch(int n_head, int head_dim)


cdef int format_of(str name) except -1:
    """The place of a format in format_info."""
    for i in range(N_FORMATS):
        if format_info[i].name == name.encode():
            return i
    known = ", ".join([format_info[i].name.decode() for i in range(N_FORMATS)])
    raise ValueError(f"unknown block format {name!r}; known are {known}")


cdef int64_t count_weights(int f, int64_t n_bytes) except -1:
    if n_bytes % format_info[f].bytes:
        name = format_info[f].name.decode()
        raise ValueError(f"{n_bytes} bytes are not whole {name} blocks of {format_info[f].bytes} bytes")
    return n_bytes // format_info[f].bytes * format_info[f].block
