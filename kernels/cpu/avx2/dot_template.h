/* Fused dot and unpack, made from codes_F and scales_F of a format (decode.h). The file that includes this defines int_dot first:
 *   __m256i int_dot(__m256i codes, __m256i x, int bias)   sum of (code - bias) * x over each 4 neighbours, exact
 * A row is one sum over its groups in a fixed order, so its product does not depend on which rows are computed together. */
#include "cpu/dot_tokens.h"
#include "decode.h"
#include "decode_iq.h"
#include "decode_ternary.h"

typedef __m256i codes_fn(const uint8_t *block, int i);
typedef void scales_fn(const uint8_t *blocks, int n, int bytes, float *scale, float *min);

enum {
    AHEAD = 8192,   /* bytes to fetch ahead of use; the processor's own prefetch stops at each 4 KB page */
    SUMS = 4,       /* independent sums, as an addition takes several cycles */
#ifdef __AVX512VL__ /* tokens that meet a block while it is unpacked: the sums of each are in registers, of which there are 32 or 16 */
    MOST_TOKENS = 4
#else
    MOST_TOKENS = 2
#endif
};

FORCE_INLINE void fetch_ahead(const uint8_t *p, int n)
{
    for (int i = 0; i < n; i += 64)
        _mm_prefetch((const char *)(p + AHEAD + i), _MM_HINT_T0);
}

FORCE_INLINE struct q8_row at(struct q8_row x, int64_t i)
{
    return (struct q8_row){x.q + i, x.scale + i / 32, x.sum + i / 16};
}

/* Of n rows of k activations, the part from i on. */
FORCE_INLINE void all_at(const struct q8_row *x, int n, int64_t i, struct q8_row *part)
{
    for (int t = 0; t < n; t++)
        part[t] = at(x[t], i);
}

FORCE_INLINE float sum_lanes(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* Scales of the i-th 32 weights, one to each lane of int_dot's result. */
FORCE_INLINE __m256 lane_scales(const float *scale, int i, int group)
{
    if (group == 32)
        return _mm256_broadcast_ss(scale + i);
    __m256i pair = _mm256_broadcastq_epi64(_mm_loadl_epi64((const void *)(scale + 2 * i)));
    return _mm256_permutevar_ps(_mm256_castsi256_ps(pair), _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}

/* Eight scales of 32 activations to those of eight groups: of 32, or of 16 in the first or second half of 256. */
FORCE_INLINE __m256 group_scales(const float *x_scale, int group, int half)
{
    __m256 scales = _mm256_loadu_ps(x_scale);
    __m256i lanes = _mm256_add_epi32(_mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3), _mm256_set1_epi32(4 * half));
    return group == 32 ? scales : _mm256_permutevar8x32_ps(scales, lanes);
}

/* Sums of q in those groups. */
FORCE_INLINE __m256 group_sums(const int16_t *sum, int group, int half)
{
    __m256i sums = group == 32 ? _mm256_madd_epi16(load32(sum), _mm256_set1_epi16(1))
                               : _mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)(sum + 8 * half)));
    return _mm256_cvtepi32_ps(sums);
}

/* The scales of 256 weights times those of x; the mins times what x sums up to are taken off the sums. */
FORCE_INLINE void product_scales(enum format f, const float scale[16], const float min[16], struct q8_row x, float out[16], __m256 sums[SUMS])
{
    const int group = format_info[f].group;
    for (int half = 0; half < 256 / group / 8; half++) {
        __m256 x_scale = group_scales(x.scale, group, half);
        if (format_has_min(f)) {
            __m256 x_sum = _mm256_mul_ps(x_scale, group_sums(x.sum, group, half));
            sums[half] = _mm256_fnmadd_ps(_mm256_loadu_ps(min + 8 * half), x_sum, sums[half]);
        }
        _mm256_storeu_ps(out + 8 * half, _mm256_mul_ps(_mm256_loadu_ps(scale + 8 * half), x_scale));
    }
}

/* 256 weights of a row times n_tokens rows of activations, added to the sums of each. */
FORCE_INLINE void dot_256(enum format f, codes_fn codes, scales_fn scales, const uint8_t *p, const struct q8_row *x, int n_tokens,
                   __m256 sums[][SUMS])
{
    const int block = format_info[f].block, bytes = format_info[f].bytes;
    float scale[16], min[16], both[MOST_TOKENS][16];
    fetch_ahead(p, 256 / block * bytes);
    scales(p, 256 / block, bytes, scale, min);
    for (int t = 0; t < n_tokens; t++)
        product_scales(f, scale, min, x[t], both[t], sums[t]);
    #pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        __m256i c = codes(p + i * 32 / block * bytes, i % (block / 32));
        #pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) {
            __m256 product = _mm256_cvtepi32_ps(int_dot(c, load32(x[t].q + 32 * i), format_info[f].bias));
            sums[t][i % SUMS] = _mm256_fmadd_ps(product, lane_scales(both[t], i, format_info[f].group), sums[t][i % SUMS]);
        }
    }
}

/* One block of 32 weights: what a row has beyond a multiple of 256. */
FORCE_INLINE void dot_32(enum format f, codes_fn codes, scales_fn scales, const uint8_t *p, const struct q8_row *x, int n_tokens,
                  __m256 sums[][SUMS])
{
    float scale, min;
    scales(p, 1, format_info[f].bytes, &scale, &min);
    __m256i c = codes(p, 0);
    for (int t = 0; t < n_tokens; t++) {
        __m256 product = _mm256_cvtepi32_ps(int_dot(c, load32(x[t].q), format_info[f].bias));
        sums[t][0] = _mm256_fmadd_ps(product, _mm256_set1_ps(scale * x[t].scale[0]), sums[t][0]);
        if (format_has_min(f)) {
            __m128 x_sum = _mm_set_ss(x[t].scale[0] * (float)(x[t].sum[0] + x[t].sum[1]));
            sums[t][1] = _mm256_fnmadd_ps(_mm256_set1_ps(min), _mm256_zextps128_ps256(x_sum), sums[t][1]);
        }
    }
}

/* n_tokens is a constant, at most MOST_TOKENS. */
FORCE_INLINE void dot_blocks(enum format f, codes_fn codes, scales_fn scales, const uint8_t *rows, int n_rows, int64_t k,
                    const struct q8_row *x, int n_tokens, float *out, int64_t out_stride)
{
    const int block = format_info[f].block, bytes = format_info[f].bytes;
    for (int r = 0; r < n_rows; r++) {
        __m256 sums[MOST_TOKENS][SUMS] = {0};
        struct q8_row part[MOST_TOKENS];
        const uint8_t *p = rows + r * row_bytes(f, k);
        int64_t i = 0;
        for (; i + 256 <= k; i += 256, p += 256 / block * bytes) {
            all_at(x, n_tokens, i, part);
            dot_256(f, codes, scales, p, part, n_tokens, sums);
        }
        for (; block == 32 && i < k; i += 32, p += bytes) {
            all_at(x, n_tokens, i, part);
            dot_32(f, codes, scales, p, part, n_tokens, sums);
        }
        for (int t = 0; t < n_tokens; t++)
            out[t * out_stride + r] = sum_lanes(_mm256_add_ps(_mm256_add_ps(sums[t][0], sums[t][1]),
                                                              _mm256_add_ps(sums[t][2], sums[t][3])));
    }
}

FORCE_INLINE void unpack_row(enum format f, codes_fn codes, scales_fn scales, const uint8_t *row, int64_t k, uint8_t *code, float *scale,
                      float *min)
{
    const int block = format_info[f].block, bytes = format_info[f].bytes, n_groups = block / format_info[f].group;
    for (int64_t b = 0; b < k / block; b++, row += bytes) {
        __m256i c[8];
        #pragma GCC unroll 8
        for (int i = 0; i < block / 32; i++)
            c[i] = codes(row, i);
        scales(row, 1, bytes, scale + b * n_groups, min ? min + b * n_groups : NULL);
        #pragma GCC unroll 8
        for (int i = 0; i < block / 32; i++)     /* last: for all the compiler knows, a store changes the row */
            _mm256_storeu_si256((void *)(code + b * block + 32 * i), c[i]);
    }
}

/* Rows that were unpacked before. */
FORCE_INLINE void dot_panel(const struct panel *w, int group, struct q8_row x, float *out)
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

static inline void dot_codes(const struct panel *w, struct q8_row x, float *out)
{
    if (w->group == 16)
        dot_panel(w, 16, x, out);
    else
        dot_panel(w, 32, x, out);
}

/* For each quantized format of formats.def. */
#define DOT_32(name, n) dot_blocks(FORMAT_##name, codes_##name, scales_##name, rows, n_rows, k, tokens, n, out, out_stride)
#define DEFINE_DOT(name) DEFINE_DOT_OF(name, DOT_32)
#define DEFINE_UNPACK(name) \
    static void unpack_##name(const uint8_t *row, int64_t k, uint8_t *code, float *scale, float *min) \
    { \
        unpack_row(FORMAT_##name, codes_##name, scales_##name, row, k, code, scale, min); \
    }
#define SET_DOT(name) table->dot[FORMAT_##name] = dot_##name;
#define SET_UNPACK(name) table->unpack[FORMAT_##name] = unpack_##name;
