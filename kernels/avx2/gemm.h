/* Many tokens with vectors of 8 dwords: 8 tokens in the lanes, 4 rows at a time, the weights broadcast four codes at a time. How they are
 * multiplied is up to the file that includes this. */
#ifndef SUBBYTE_AVX2_GEMM_H
#define SUBBYTE_AVX2_GEMM_H
#include "../kernels.h"
#include "transpose.h"

#define PIECE static inline __attribute__((always_inline))

enum { LANES = 8, ROWS = 4, SIGNED = 0 };

/* sum plus the products of a row's n * 4 codes with n vectors of activations; depth is a number of its own, or SIGNED: then codes lose
 * their bias first, else the sum starts without it. */
typedef __m256i products_fn(const uint8_t *code, const __m256i *x, int n, int depth, __m256i bias, __m256i sum);

PIECE __m256i broadcast_4(const uint8_t *codes)
{
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    return _mm256_set1_epi32(four);
}

PIECE void store_tile(const __m256 acc[ROWS], int n_rows, int n_tokens, float *out, int64_t out_stride)
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

/* Rows in work: code [k], scale and min [k / group] of the first. */
struct rows {
    const uint8_t *code;
    const float *scale, *min;
    int64_t k, n_groups;
    int bias;
};

/* The g-th group of each row, added to the sums. */
PIECE void add_group(products_fn products, const struct rows *w, int n_rows, int64_t g, int group, int depth, int has_min,
                     const struct q8_tile *x, __m256 acc[ROWS])
{
    const __m256i *sums = (const void *)(x->sum + g * group / 16 * LANES);
    __m256i q[8], bias = _mm256_set1_epi8((char)w->bias);
    for (int j = 0; j < group / 4; j++)
        q[j] = _mm256_load_si256((const void *)(x->q + (g * group / 4 + j) * LANES * 4));
    __m256i sum = _mm256_load_si256(sums), start = _mm256_setzero_si256();
    if (group == 32)
        sum = _mm256_add_epi32(sum, _mm256_load_si256(sums + 1));
    if (depth != SIGNED)
        start = _mm256_mullo_epi32(sum, _mm256_set1_epi32(-w->bias));
    #pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++) {
        __m256i product = products(w->code + i * w->k + g * group, q, group / 4, depth, bias, start);
        __m256 p = _mm256_mul_ps(_mm256_cvtepi32_ps(product), _mm256_broadcast_ss(w->scale + i * w->n_groups + g));
        if (has_min)
            p = _mm256_fnmadd_ps(_mm256_broadcast_ss(w->min + i * w->n_groups + g), _mm256_cvtepi32_ps(sum), p);
        acc[i] = _mm256_fmadd_ps(p, _mm256_load_ps(x->scale + g * group / 32 * LANES), acc[i]);
    }
}

/* Rows r .. r + n_rows - 1 of a panel times a tile; n_rows is ROWS or 1. */
PIECE void some_rows(products_fn products, const struct panel *w, int r, int n_rows, const struct q8_tile *x, int n_tokens,
                     int group, int depth, int has_min, float *out, int64_t out_stride)
{
    const int64_t n_groups = w->k / group, g0 = r * n_groups;
    const struct rows rows = {w->code + r * w->k, w->scale + g0, w->min + g0, w->k, n_groups, w->bias};
    __m256 acc[ROWS];
    for (int i = 0; i < n_rows; i++)
        acc[i] = _mm256_setzero_ps();
    for (int64_t g = 0; g < n_groups; g++)
        add_group(products, &rows, n_rows, g, group, depth, has_min, x, acc);
    store_tile(acc, n_rows, n_tokens, out + r, out_stride);
}

PIECE void all_rows(products_fn products, const struct panel *w, const struct q8_tile *x, int n_tokens, int group, int depth,
                    int has_min, float *out, int64_t out_stride)
{
    int r = 0;
    for (; r + ROWS <= w->n_rows; r += ROWS)
        some_rows(products, w, r, ROWS, x, n_tokens, group, depth, has_min, out, out_stride);
    for (; r < w->n_rows; r++)
        some_rows(products, w, r, 1, x, n_tokens, group, depth, has_min, out, out_stride);
}

#endif
