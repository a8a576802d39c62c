/* Fused dot and unpack, made from the pieces of a format (pieces.h). The file that includes this defines int_dot first:
 *   __m256i int_dot(__m256i codes, __m256i x, int bias)   sum of (code - bias) * x over each 4 neighbours, exact */
#include "../kernels.h"
#include "pieces.h"

typedef __m256i codes_fn(const uint8_t *block, int i);
typedef void scales_fn(const uint8_t *blocks, int n, int bytes, float *scale, float *min);

enum {
    AHEAD = 8192,   /* bytes to fetch ahead of use: the processor's own prefetch stops at each 4 KB page */
    SUMS = 4        /* independent sums, as an addition takes several cycles */
};

PIECE struct q8_row at(struct q8_row x, int64_t i)
{
    return (struct q8_row){x.q + i, x.scale + i / 32, x.sum + i / 16};
}

PIECE float sum_lanes(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* Scales of the i-th 32 weights, one to each lane of int_dot's result. */
PIECE __m256 lane_scales(const float *scale, int i, int group)
{
    if (group == 32)
        return _mm256_broadcast_ss(scale + i);
    __m256 pair = _mm256_castpd_ps(_mm256_broadcast_sd((const double *)(scale + 2 * i)));
    return _mm256_permutevar_ps(pair, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}

/* Eight scales of 32 activations to the scales of eight groups of 16: of half 0 or 1 of them. */
PIECE __m256 halves(__m256 x_scale, int half)
{
    __m256i first = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    return _mm256_permutevar8x32_ps(x_scale, _mm256_add_epi32(first, _mm256_set1_epi32(4 * half)));
}

/* The activations' part that is the same for all rows: scale of each group, and scale * sum for the mins. */
struct x_unit {
    __m256 scale[2], sum[2];
};

PIECE struct x_unit load_x(const float *scale, const int16_t *sum, int n_groups)
{
    struct x_unit x = {0};
    if (n_groups == 1) {
        x.scale[0] = _mm256_broadcast_ss(scale);
        x.sum[0] = _mm256_zextps128_ps256(_mm_set_ss(scale[0] * (float)(sum[0] + sum[1])));
    } else if (n_groups == 8) {
        x.scale[0] = _mm256_loadu_ps(scale);
        x.sum[0] = _mm256_mul_ps(x.scale[0], _mm256_cvtepi32_ps(_mm256_madd_epi16(load32(sum), _mm256_set1_epi16(1))));
    } else {
        for (int half = 0; half < 2; half++) {
            __m256i sums = _mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)(sum + 8 * half)));
            x.scale[half] = halves(_mm256_loadu_ps(scale), half);
            x.sum[half] = _mm256_mul_ps(x.scale[half], _mm256_cvtepi32_ps(sums));
        }
    }
    return x;
}

/* The next n_blocks blocks of a row, 256 or 32 weights, times x; added to the sums. */
PIECE void dot_unit(enum format f, codes_fn codes, scales_fn scales, int n_blocks, const uint8_t *p, struct q8_row x, __m256 sums[SUMS])
{
    const int block = format_info[f].block, bytes = format_info[f].bytes, group = format_info[f].group;
    const int n_groups = n_blocks * block / group;
    float scale[16], min[16];
    struct x_unit xu = load_x(x.scale, x.sum, n_groups);
    scales(p, n_blocks, bytes, scale, min);
    if (n_groups == 1) {
        scale[0] *= x.scale[0];
        if (format_has_min(f))
            sums[0] = _mm256_fnmadd_ps(_mm256_broadcast_ss(min), xu.sum[0], sums[0]);
    }
    for (int i = 0; i < n_groups / 8; i++) {
        _mm256_storeu_ps(scale + 8 * i, _mm256_mul_ps(_mm256_loadu_ps(scale + 8 * i), xu.scale[i]));
        if (format_has_min(f))
            sums[i] = _mm256_fnmadd_ps(_mm256_loadu_ps(min + 8 * i), xu.sum[i], sums[i]);
    }
    for (int i = 0; i < n_blocks * bytes; i += 64)
        _mm_prefetch((const char *)(p + AHEAD + i), _MM_HINT_T0);
    #pragma GCC unroll 8
    for (int i = 0; i < n_blocks * block / 32; i++) {
        __m256i product = int_dot(codes(p + i * 32 / block * bytes, i % (block / 32)), load32(x.q + 32 * i), format_info[f].bias);
        sums[i % SUMS] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(product), lane_scales(scale, i, group), sums[i % SUMS]);
    }
}

PIECE void dot_rows(enum format f, codes_fn codes, scales_fn scales, const uint8_t *rows, int n_rows, int64_t k, struct q8_row x,
                    float *out)
{
    const int block = format_info[f].block, bytes = format_info[f].bytes;
    for (int r = 0; r < n_rows; r++) {
        __m256 sums[SUMS] = {0};
        const uint8_t *p = rows + r * row_bytes(f, k);
        int64_t i = 0;
        for (; i + 256 <= k; i += 256, p += 256 / block * bytes)
            dot_unit(f, codes, scales, 256 / block, p, at(x, i), sums);
        for (; block == 32 && i < k; i += 32, p += bytes)
            dot_unit(f, codes, scales, 1, p, at(x, i), sums);
        out[r] = sum_lanes(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
    }
}

PIECE void unpack_row(enum format f, codes_fn codes, scales_fn scales, const uint8_t *row, int64_t k, uint8_t *code, float *scale,
                      float *min)
{
    const int block = format_info[f].block, bytes = format_info[f].bytes, n_groups = block / format_info[f].group;
    for (int64_t b = 0; b < k / block; b++, row += bytes) {
        scales(row, 1, bytes, scale + b * n_groups, min ? min + b * n_groups : NULL);
        #pragma GCC unroll 8
        for (int i = 0; i < block / 32; i++)
            _mm256_storeu_si256((void *)(code + b * block + 32 * i), codes(row, i));
    }
}

/* Rows that were unpacked before, for formats without pieces. */
PIECE void dot_panel(const struct panel *w, int group, struct q8_row x, float *out)
{
    const int64_t n_groups = w->k / group;
    for (int r = 0; r < w->n_rows; r++) {
        const uint8_t *code = w->code + r * w->k;
        const float *scale = w->scale + r * n_groups, *min = w->min + r * n_groups;
        __m256 acc = _mm256_setzero_ps();
        for (int64_t i = 0; i < w->k / 32; i++) {
            __m256 scales = _mm256_mul_ps(lane_scales(scale + i * 32 / group, 0, group), _mm256_broadcast_ss(x.scale + i));
            __m256i product = int_dot(load32(code + 32 * i), load32(x.q + 32 * i), w->bias);
            acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(product), scales, acc);
        }
        out[r] = sum_lanes(acc);
        for (int64_t g = 0; w->has_min && g < n_groups; g++) {
            int sum = group == 16 ? x.sum[g] : x.sum[2 * g] + x.sum[2 * g + 1];
            out[r] -= min[g] * (x.scale[g * group / 32] * (float)sum);
        }
    }
}

static void dot_codes(const struct panel *w, struct q8_row x, float *out)
{
    if (w->group == 16)
        dot_panel(w, 16, x, out);
    else
        dot_panel(w, 32, x, out);
}

/* The formats with pieces. */
#define FORMATS_WITH_PIECES(F) \
    F(Q4_0) F(Q4_1) F(Q5_0) F(Q5_1) F(Q8_0) F(Q2_K) F(Q3_K) F(Q4_K) F(Q5_K) F(Q6_K) F(IQ4_NL) F(IQ4_XS) F(MXFP4) F(TQ2_0)

#define DEFINE_DOT(name) \
    static void dot_##name(const uint8_t *rows, int n_rows, int64_t k, struct q8_row x, float *out) \
    { \
        dot_rows(FORMAT_##name, codes_##name, scales_##name, rows, n_rows, k, x, out); \
    }
#define DEFINE_UNPACK(name) \
    static void unpack_##name(const uint8_t *row, int64_t k, uint8_t *code, float *scale, float *min) \
    { \
        unpack_row(FORMAT_##name, codes_##name, scales_##name, row, k, code, scale, min); \
    }
#define SET_DOT(name) table->dot[FORMAT_##name] = dot_##name;
#define SET_UNPACK(name) table->unpack[FORMAT_##name] = unpack_##name;
