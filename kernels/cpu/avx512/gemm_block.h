/* Blocks of the result of gemm_template.h: some rows of weights times one or two tiles of tokens, in registers.
 *
 * What bounds it on Zen 4 and 5: vpdpbusd, multiplication and fused multiply-add share two pipes. For 32 weights, a vector of
 * tokens and a row these have 8 + 1 + 1 to do, one more for a min or a second scale, one less where 256 weights share a scale.
 * Each broadcast serves two tiles of tokens, or loads would be the bound. */
#ifndef SUBBYTE_AVX512_GEMM_BLOCK_H
#define SUBBYTE_AVX512_GEMM_BLOCK_H
#include "cpu/kernel_table.h"

/* Rows in work: code [k], scale [n_groups] and min [n_mins] of the first; and their tiles of tokens. */
struct block {
    const uint8_t *code;
    const float *scale, *min;
    int64_t k, n_groups, n_mins;
    ints minus_bias;
    struct q8_tile x[MAX_TILES];
};

FORCE_INLINE ints broadcast_4(const uint8_t *codes)
{
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    return i_set(four);
}

/* product[i][t] = the codes of row i, less the bias, times tile t over n * 4 positions from k0 on, whose sums are known. The
 * integer sums start at -bias * sum, which takes the bias out of all codes for free. */
FORCE_INLINE void multiply(const struct block *w, int n_rows, int n_tiles, int64_t k0, int n, const ints sum[MAX_TILES],
                    ints product[BLOCK])
{
    for (int t = 0; t < n_tiles; t++) {
        ints start = i_mul(sum[t], w->minus_bias);
        #pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++)
            product[i * n_tiles + t] = start;
    }
    #pragma GCC unroll 8
    for (int j = 0; j < n; j++) {
        ints q[MAX_TILES];
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++)
            q[t] = i_load(w->x[t].q + (k0 / 4 + j) * LANES * 4);
        #pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++) {
            ints codes = broadcast_4(w->code + i * w->k + k0 + 4 * j);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++)
                product[i * n_tiles + t] = i_dot(product[i * n_tiles + t], codes, q[t]);
        }
    }
}

/* The b-th 32 weights of each row, which share a scale. */
FORCE_INLINE void add_32(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, floats acc[BLOCK])
{
    ints sum[MAX_TILES], product[BLOCK];
    floats x_scale[MAX_TILES], x_sum[MAX_TILES];
    for (int t = 0; t < n_tiles; t++) {
        const int32_t *sums = w->x[t].sum + 2 * b * LANES;
        sum[t] = i_add(i_load(sums), i_load(sums + LANES));
        x_scale[t] = f_load(w->x[t].scale + b * LANES);
        x_sum[t] = f_mul(i_to_float(sum[t]), x_scale[t]);
    }
    multiply(w, n_rows, n_tiles, 32 * b, 8, sum, product);
    #pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++) {
        floats scale = f_set(w->scale[i * w->n_groups + b]);
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++) {
            int at = i * n_tiles + t;
            floats p = f_mul(i_to_float(product[at]), x_scale[t]);
            acc[at] = f_fma(p, scale, acc[at]);
            if (has_min)
                acc[at] = f_fnma(f_set(w->min[i * w->n_mins + b]), x_sum[t], acc[at]);
        }
    }
}

/* The same where halves of them have scales of their own: these go first, then the two meet the scale of x together. */
FORCE_INLINE void add_2x16(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, floats acc[BLOCK])
{
    floats both[BLOCK];
    #pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const int64_t g = 2 * b + h;
        ints product[BLOCK], sum[MAX_TILES];
        for (int t = 0; t < n_tiles; t++)
            sum[t] = i_load(w->x[t].sum + g * LANES);
        multiply(w, n_rows, n_tiles, 16 * g, 4, sum, product);
        #pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++) {
            floats scale = f_set(w->scale[i * w->n_groups + g]);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++) {
                int at = i * n_tiles + t;
                floats p = i_to_float(product[at]);
                both[at] = h == 0 ? f_mul(p, scale) : f_fma(p, scale, both[at]);
                if (has_min)
                    both[at] = f_fnma(f_set(w->min[i * w->n_mins + g]), i_to_float(sum[t]), both[at]);
            }
        }
    }
    #pragma GCC unroll 12
    for (int at = 0; at < n_rows * n_tiles; at++)
        acc[at] = f_fma(both[at], f_load(w->x[at % n_tiles].scale + b * LANES), acc[at]);
}

/* The b-th 32 weights of folded rows; their scale comes when 256 are done. Mins are of 16. */
FORCE_INLINE void add_folded(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, floats folded[BLOCK])
{
    ints sum[MAX_TILES], product[BLOCK];
    floats x_scale[MAX_TILES], x_sum[2][MAX_TILES];
    for (int t = 0; t < n_tiles; t++) {
        const int32_t *sums = w->x[t].sum + 2 * b * LANES;
        ints half[2] = {i_load(sums), i_load(sums + LANES)};
        sum[t] = i_add(half[0], half[1]);
        x_scale[t] = f_load(w->x[t].scale + b * LANES);
        for (int h = 0; h < 2; h++)
            x_sum[h][t] = f_mul(i_to_float(half[h]), x_scale[t]);
    }
    multiply(w, n_rows, n_tiles, 32 * b, 8, sum, product);
    #pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++)
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++) {
            int at = i * n_tiles + t;
            folded[at] = f_fma(i_to_float(product[at]), x_scale[t], folded[at]);
            for (int h = 0; has_min && h < 2; h++)
                folded[at] = f_fnma(f_set(w->min[i * w->n_mins + 2 * b + h]), x_sum[h][t], folded[at]);
        }
}

FORCE_INLINE void add_256(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, floats acc[BLOCK])
{
    floats folded[BLOCK];
    for (int at = 0; at < n_rows * n_tiles; at++)
        folded[at] = f_set(0);
    for (int i = 0; i < 8; i++)
        add_folded(w, n_rows, n_tiles, 8 * b + i, has_min, folded);
    #pragma GCC unroll 12
    for (int at = 0; at < n_rows * n_tiles; at++)
        acc[at] = f_fma(folded[at], f_set(w->scale[at / n_tiles * w->n_groups + b]), acc[at]);
}

#endif
