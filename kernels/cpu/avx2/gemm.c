/* Many tokens with AVX2: 8 tokens in the lanes, 4 rows at a time, the weights broadcast four codes at a time. */
#include <string.h>
#include "cpu/kernel_table.h"
#include "transpose.h"

#define FORCE_INLINE static inline __attribute__((always_inline))

enum { LANES = 8, ROWS = 4, SIGNED = 0 };

FORCE_INLINE __m256i broadcast_4(const uint8_t *codes)
{
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    return _mm256_set1_epi32(four);
}

/* How many results of vpmaddubsw, two products each, an int16 lane can add up; longer chains measured slower than these.
 * SIGNED: not even one; such codes lose their bias first and their sign moves to the activation. */
#define DEPTH_OF(bias) ((bias) > 64 ? SIGNED : (bias) > 32 ? 1 : (bias) > 16 ? 2 : 4)

#define FORMAT(name, id, block, bytes, group, bias, max_code) \
    _Static_assert(DEPTH_OF(bias) * 2 * max_code * 127 <= INT16_MAX, #name " overflows 16 bits");
#include "formats/formats.def"
#undef FORMAT

/* sum plus the products of a row's n * 4 codes with n vectors of activations. */
FORCE_INLINE __m256i products(const uint8_t *code, const __m256i *x, int n, int depth, __m256i bias, __m256i sum)
{
    const int step = depth == SIGNED ? 1 : depth;
    #pragma GCC unroll 8
    for (int i = 0; i < n; i += step) {
        __m256i pairs = _mm256_setzero_si256();
        #pragma GCC unroll 8
        for (int j = i; j < i + step; j++) {
            __m256i w = broadcast_4(code + 4 * j);
            if (depth == SIGNED) {
                w = _mm256_sub_epi8(w, bias);
                pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x[j], w));
            } else {
                pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w, x[j]));
            }
        }
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    return sum;
}

FORCE_INLINE void store_tile(const __m256 acc[ROWS], int n_rows, int n_tokens, float *out, int64_t out_stride)
{
    __m256i v[8];
    for (int r = 0; r < 8; r++)
        v[r] = r < n_rows ? _mm256_castps_si256(acc[r]) : _mm256_setzero_si256();
    transpose_8x8(v);
    #pragma GCC unroll 8
    for (int t = 0; t < LANES; t++)
        if (t < n_tokens) {
            if (n_rows == 1)
                out[t * out_stride] = _mm256_cvtss_f32(_mm256_castsi256_ps(v[t]));
            else
                _mm_storeu_ps(out + t * out_stride, _mm_castsi128_ps(_mm256_castsi256_si128(v[t])));
        }
}

/* Rows in work: code [k], scale [n_scales], factor [n_factors] and min [n_mins] of the first. */
struct rows {
    const uint8_t *code;
    const float *scale, *factor, *min;
    int64_t k, n_scales, n_factors, n_mins;
    int bias;
};

/* The products of 32 weights of a row from code on, with their scales: p of order.h. sum: of the activations, by halves. */
FORCE_INLINE __m256 scaled_sums(const uint8_t *code, const float *scale, int group, int depth, __m256i bias, const __m256i q[8],
                                const __m256i start[2])
{
    if (group == 32)
        return _mm256_mul_ps(_mm256_cvtepi32_ps(products(code, q, 8, depth, bias, start[0])), _mm256_broadcast_ss(scale));
    __m256 first = _mm256_cvtepi32_ps(products(code, q, 4, depth, bias, start[0]));
    __m256 second = _mm256_cvtepi32_ps(products(code + 16, q + 4, 4, depth, bias, start[1]));
    return _mm256_fmadd_ps(second, _mm256_broadcast_ss(scale + 1), _mm256_mul_ps(first, _mm256_broadcast_ss(scale)));
}

/* The b-th 32 weights of each row, added to the chains. */
FORCE_INLINE void add_32(const struct rows *w, int n_rows, int64_t b, int group, int depth, int has_min, const struct q8_tile *x,
                         __m256 acc[ROWS], __m256 mins[ROWS][MIN_CHAINS])
{
    const __m256i *sums = (const void *)(x->sum + 2 * b * LANES), minus_bias = _mm256_set1_epi32(-w->bias);
    const __m256 xs = _mm256_load_ps(x->scale + b * LANES);
    __m256i q[8], bias = _mm256_set1_epi8((char)w->bias), start[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int j = 0; j < 8; j++)
        q[j] = _mm256_load_si256((const void *)(x->q + (8 * b + j) * LANES * 4));
    __m256i sum[2] = {_mm256_load_si256(sums), _mm256_load_si256(sums + 1)};
    if (group == 32)
        sum[0] = _mm256_add_epi32(sum[0], sum[1]);
    for (int h = 0; h < 32 / group && depth != SIGNED && !has_min; h++)
        start[h] = _mm256_mullo_epi32(sum[h], minus_bias);
    #pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++) {
        const float *scale = w->scale + i * w->n_scales + b * 32 / group;
        acc[i] = _mm256_fmadd_ps(scaled_sums(w->code + i * w->k + 32 * b, scale, group, depth, bias, q, start), xs, acc[i]);
    }
    for (int h = 0; h < 32 / group && has_min; h++) {
        const int64_t g = b * 32 / group + h;
        __m256 x_sum = _mm256_mul_ps(xs, _mm256_cvtepi32_ps(sum[h]));
        #pragma GCC unroll 4
        for (int i = 0; i < n_rows; i++) {
            __m256 *m = &mins[i][g % MIN_CHAINS];
            *m = _mm256_fmadd_ps(_mm256_broadcast_ss(w->min + i * w->n_mins + g), x_sum, *m);
        }
    }
}

FORCE_INLINE __m256 add_chains(const __m256 m[MIN_CHAINS])
{
    return _mm256_add_ps(_mm256_add_ps(_mm256_add_ps(m[0], m[4]), _mm256_add_ps(m[2], m[6])),
                         _mm256_add_ps(_mm256_add_ps(m[1], m[5]), _mm256_add_ps(m[3], m[7])));
}

/* Rows r .. r + n_rows - 1 of a panel times a tile; n_rows is ROWS or 1. */
FORCE_INLINE void some_rows(const struct panel *w, int r, int n_rows, const struct q8_tile *x, int n_tokens, int group, int depth,
                     int has_factor, int has_min, float *out, int64_t out_stride)
{
    const int64_t n_scales = w->k / group, n_factors = w->k / 256, n_mins = w->k / w->min_group, n_blocks = w->k / 32;
    const struct rows rows = {w->code + r * w->k, w->scale + r * n_scales, w->factor + r * n_factors, w->min + r * n_mins,
                              w->k, n_scales, n_factors, n_mins, w->bias};
    __m256 acc[ROWS], mins[ROWS][MIN_CHAINS];
    for (int i = 0; i < n_rows; i++) {
        acc[i] = _mm256_setzero_ps();
        for (int j = 0; j < MIN_CHAINS && has_min; j++)
            mins[i][j] = _mm256_setzero_ps();
    }
    if (has_factor) {
        for (int64_t b = 0; b < n_factors; b++) {
            __m256 sum[ROWS];
            for (int i = 0; i < n_rows; i++)
                sum[i] = _mm256_setzero_ps();
            for (int j = 0; j < 8; j++)
                add_32(&rows, n_rows, 8 * b + j, group, depth, has_min, x, sum, mins);
            for (int i = 0; i < n_rows; i++)
                acc[i] = _mm256_fmadd_ps(sum[i], _mm256_broadcast_ss(rows.factor + i * n_factors + b), acc[i]);
        }
    } else {
        for (int64_t b = 0; b < n_blocks; b++)
            add_32(&rows, n_rows, b, group, depth, has_min, x, acc, mins);
    }
    for (int i = 0; i < n_rows && has_min; i++)
        acc[i] = _mm256_sub_ps(acc[i], add_chains(mins[i]));
    store_tile(acc, n_rows, n_tokens, out + r, out_stride);
}

FORCE_INLINE void all_rows(const struct panel *w, const struct q8_tile *x, int n_tokens, int group, int depth, int has_factor,
                    int has_min, float *out, int64_t out_stride)
{
    int r = 0;
    for (; r + ROWS <= w->n_rows; r += ROWS)
        some_rows(w, r, ROWS, x, n_tokens, group, depth, has_factor, has_min, out, out_stride);
    for (; r < w->n_rows; r++)
        some_rows(w, r, 1, x, n_tokens, group, depth, has_factor, has_min, out, out_stride);
}

/* A copy of the loop for each case, so that depth, group and whether there are factors and mins are constants in it. */
static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
#define CASE(d, m) \
    case 2 * d + m: \
        if (w->group == 16) \
            all_rows(w, x, n_tokens, 16, d, 1, m, out, out_stride); \
        else if (w->has_factor) \
            all_rows(w, x, n_tokens, 32, d, 1, m, out, out_stride); \
        else \
            all_rows(w, x, n_tokens, 32, d, 0, m, out, out_stride); \
        break;
    switch (2 * DEPTH_OF(w->bias) + (w->has_min != 0)) {
    CASE(4, 0) CASE(4, 1) CASE(2, 0) CASE(1, 0) CASE(SIGNED, 0)
    }
#undef CASE
}

void fill_avx2_gemm(struct kernels *table)
{
    table->gemm = gemm;
    table->gemm_tiles = 1;
    memset(table->fold, 0, sizeof table->fold);                /* vpmaddubsw would overflow with folded codes */
}
