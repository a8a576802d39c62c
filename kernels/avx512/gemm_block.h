/* Blocks of the result of gemm: some rows of weights times one or two tiles of tokens, in registers.
 *
 * What bounds it on Zen 4 and 5: vpdpbusd, multiplication and fused multiply-add share two pipes. For 32 weights, 16 tokens
 * and a row these have 8 + 1 + 1 to do, one more for a min or a second scale, one less where 256 weights share a scale. Each
 * broadcast serves two tiles of tokens, or loads would be the bound. */
#ifndef SUBBYTE_AVX512_GEMM_BLOCK_H
#define SUBBYTE_AVX512_GEMM_BLOCK_H
#include <immintrin.h>
#include "../kernels.h"

#define PIECE static inline __attribute__((always_inline))

enum {
    LANES = 16,
    BLOCK = 12,         /* vectors of results in work: fewer would wait for each other, more have no registers */
    ROWS_OF_ONE = 8     /* of them, rows when there is but one tile */
};

/* Rows in work: code [k], scale [n_groups] and min [n_mins] of the first; and their tiles of tokens. */
struct block {
    const uint8_t *code;
    const float *scale, *min;
    int64_t k, n_groups, n_mins;
    __m512i minus_bias;
    struct q8_tile x[MAX_TILES];
};

PIECE __m512i broadcast_4(const uint8_t *codes)
{
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    return _mm512_set1_epi32(four);
}

/* product[i][t] = the codes of row i, less the bias, times tile t over n * 4 positions from k0 on, whose sums are known. The
 * integer sums start at -bias * sum, which takes the bias out of all codes for free. */
PIECE void multiply(const struct block *w, int n_rows, int n_tiles, int64_t k0, int n, const __m512i sum[MAX_TILES],
                    __m512i product[BLOCK])
{
    for (int t = 0; t < n_tiles; t++) {
        __m512i start = _mm512_mullo_epi32(sum[t], w->minus_bias);
        #pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++)
            product[i * n_tiles + t] = start;
    }
    #pragma GCC unroll 8
    for (int j = 0; j < n; j++) {
        __m512i q[MAX_TILES];
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++)
            q[t] = _mm512_load_si512(w->x[t].q + (k0 / 4 + j) * LANES * 4);
        #pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++) {
            __m512i codes = broadcast_4(w->code + i * w->k + k0 + 4 * j);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++)
                product[i * n_tiles + t] = _mm512_dpbusd_epi32(product[i * n_tiles + t], codes, q[t]);
        }
    }
}

/* The b-th 32 weights of each row, which share a scale. */
PIECE void add_32(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, __m512 acc[BLOCK])
{
    __m512i sum[MAX_TILES], product[BLOCK];
    __m512 x_scale[MAX_TILES], x_sum[MAX_TILES];
    for (int t = 0; t < n_tiles; t++) {
        const int32_t *sums = w->x[t].sum + 2 * b * LANES;
        sum[t] = _mm512_add_epi32(_mm512_load_si512(sums), _mm512_load_si512(sums + LANES));
        x_scale[t] = _mm512_load_ps(w->x[t].scale + b * LANES);
        x_sum[t] = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[t]), x_scale[t]);
    }
    multiply(w, n_rows, n_tiles, 32 * b, 8, sum, product);
    #pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++) {
        __m512 scale = _mm512_set1_ps(w->scale[i * w->n_groups + b]);
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++) {
            int at = i * n_tiles + t;
            __m512 p = _mm512_mul_ps(_mm512_cvtepi32_ps(product[at]), x_scale[t]);
            acc[at] = _mm512_fmadd_ps(p, scale, acc[at]);
            if (has_min)
                acc[at] = _mm512_fnmadd_ps(_mm512_set1_ps(w->min[i * w->n_mins + b]), x_sum[t], acc[at]);
        }
    }
}

/* The same where halves of them have scales of their own: these go first, then the two meet the scale of x together. */
PIECE void add_2x16(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, __m512 acc[BLOCK])
{
    __m512 both[BLOCK];
    #pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const int64_t g = 2 * b + h;
        __m512i product[BLOCK], sum[MAX_TILES];
        for (int t = 0; t < n_tiles; t++)
            sum[t] = _mm512_load_si512(w->x[t].sum + g * LANES);
        multiply(w, n_rows, n_tiles, 16 * g, 4, sum, product);
        #pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++) {
            __m512 scale = _mm512_set1_ps(w->scale[i * w->n_groups + g]);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++) {
                int at = i * n_tiles + t;
                __m512 p = _mm512_cvtepi32_ps(product[at]);
                both[at] = h == 0 ? _mm512_mul_ps(p, scale) : _mm512_fmadd_ps(p, scale, both[at]);
                if (has_min)
                    both[at] = _mm512_fnmadd_ps(_mm512_set1_ps(w->min[i * w->n_mins + g]), _mm512_cvtepi32_ps(sum[t]), both[at]);
            }
        }
    }
    #pragma GCC unroll 12
    for (int at = 0; at < n_rows * n_tiles; at++)
        acc[at] = _mm512_fmadd_ps(both[at], _mm512_load_ps(w->x[at % n_tiles].scale + b * LANES), acc[at]);
}

/* The b-th 32 weights of folded rows; their scale comes when 256 are done. Mins are of 16. */
PIECE void add_folded(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, __m512 folded[BLOCK])
{
    __m512i sum[MAX_TILES], product[BLOCK];
    __m512 x_scale[MAX_TILES], x_sum[2][MAX_TILES];
    for (int t = 0; t < n_tiles; t++) {
        const int32_t *sums = w->x[t].sum + 2 * b * LANES;
        __m512i half[2] = {_mm512_load_si512(sums), _mm512_load_si512(sums + LANES)};
        sum[t] = _mm512_add_epi32(half[0], half[1]);
        x_scale[t] = _mm512_load_ps(w->x[t].scale + b * LANES);
        for (int h = 0; h < 2; h++)
            x_sum[h][t] = _mm512_mul_ps(_mm512_cvtepi32_ps(half[h]), x_scale[t]);
    }
    multiply(w, n_rows, n_tiles, 32 * b, 8, sum, product);
    #pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++)
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++) {
            int at = i * n_tiles + t;
            folded[at] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product[at]), x_scale[t], folded[at]);
            for (int h = 0; has_min && h < 2; h++)
                folded[at] = _mm512_fnmadd_ps(_mm512_set1_ps(w->min[i * w->n_mins + 2 * b + h]), x_sum[h][t], folded[at]);
        }
}

PIECE void add_256(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, __m512 acc[BLOCK])
{
    __m512 folded[BLOCK];
    for (int at = 0; at < n_rows * n_tiles; at++)
        folded[at] = _mm512_setzero_ps();
    for (int i = 0; i < 8; i++)
        add_folded(w, n_rows, n_tiles, 8 * b + i, has_min, folded);
    #pragma GCC unroll 12
    for (int at = 0; at < n_rows * n_tiles; at++)
        acc[at] = _mm512_fmadd_ps(folded[at], _mm512_set1_ps(w->scale[at / n_tiles * w->n_groups + b]), acc[at]);
}

#endif
