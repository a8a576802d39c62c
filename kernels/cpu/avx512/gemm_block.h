/* Blocks of the result of gemm_template.h: some rows of weights times one or two tiles of tokens, in registers.
 *
 * What bounds it on Zen 4 and 5: vpdpbusd, multiplication and fused multiply-add share two pipes. For 32 weights, a vector of
 * tokens and a row these have 8 + 1 + 1 to do, one more for a min or a second scale, one less where 256 weights share a scale.
 * Each broadcast serves two tiles of tokens, or loads would be the bound. */
#ifndef SUBBYTE_AVX512_GEMM_BLOCK_H
#define SUBBYTE_AVX512_GEMM_BLOCK_H
#include "cpu/kernel_table.h"

/* Rows in work: code, scale, factor and min of the first, how far it is to those of the next; and their tiles of tokens. */
struct block {
    const uint8_t *code;
    const float *scale, *factor, *min;
    int64_t n_codes, n_scales, n_factors, n_mins;
    int64_t k;
    ints minus_bias;
    struct q8_tile x[MAX_TILES];
};

/* The rows of a panel from row `first` on. */
FORCE_INLINE struct block rows_from(const struct panel *w, int first, int group, const struct q8_tile *x, int n_tiles)
{
    const int64_t k = w->k, n_scales = k / (group == FOLDED ? w->min_group : group), n_factors = k / 256, n_mins = k / w->min_group;
    return (struct block){w->code + first * k, w->scale + first * n_scales, w->factor + first * n_factors, w->min + first * n_mins,
                          k, n_scales, n_factors, n_mins, k, i_set(-w->bias), {x[0], x[n_tiles - 1]}};
}

typedef floats min_chains[BLOCK][MIN_CHAINS];

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
            ints codes = broadcast_4(w->code + i * w->n_codes + k0 + 4 * j);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++)
                product[i * n_tiles + t] = i_dot(product[i * n_tiles + t], codes, q[t]);
        }
    }
}

/* The b-th 32 weights of each row, their sums times the scales: p of order.h. Folded codes have none. */
FORCE_INLINE void scaled_sums(const struct block *w, int n_rows, int n_tiles, int64_t b, int group, floats p[BLOCK])
{
    const int n_halves = group == 16 ? 2 : 1, n = 32 / n_halves;
    #pragma GCC unroll 2
    for (int h = 0; h < n_halves; h++) {
        ints sum[MAX_TILES], product[BLOCK];
        for (int t = 0; t < n_tiles; t++) {
            const int32_t *sums = w->x[t].sum + (2 * b + h) * LANES;
            sum[t] = group == 16 ? i_load(sums) : i_add(i_load(sums), i_load(sums + LANES));
        }
        multiply(w, n_rows, n_tiles, 32 * b + 16 * h, n / 4, sum, product);
        #pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++) {
            floats scale = group == FOLDED ? f_set(1) : f_set(w->scale[i * w->n_scales + n_halves * b + h]);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++) {
                int at = i * n_tiles + t;
                floats sum_of = i_to_float(product[at]);
                p[at] = group == FOLDED ? sum_of : h == 0 ? f_mul(sum_of, scale) : f_fma(sum_of, scale, p[at]);
            }
        }
    }
}

/* The same added to the chains. */
FORCE_INLINE void add_32(const struct block *w, int n_rows, int n_tiles, int64_t b, int group, floats acc[BLOCK])
{
    floats p[BLOCK];
    scaled_sums(w, n_rows, n_tiles, b, group, p);
    #pragma GCC unroll 12
    for (int at = 0; at < n_rows * n_tiles; at++)
        acc[at] = f_fma(p[at], f_load(w->x[at % n_tiles].scale + b * LANES), acc[at]);
}

/* The sums of the activations of group g. */
FORCE_INLINE floats sums_of_group(const struct q8_tile *x, int64_t g, int group)
{
    const int32_t *sums = x->sum + g * group / 16 * LANES;
    ints sum = group == 16 ? i_load(sums) : i_add(i_load(sums), i_load(sums + LANES));
    return f_mul(f_load(x->scale + g * group / 32 * LANES), i_to_float(sum));
}

/* The mins of each row times these, chain by chain: all rows' sums of one stay in registers. */
FORCE_INLINE void multiply_mins(const struct block *w, int n_rows, int n_tiles, int min_group, min_chains mins)
{
    for (int c = 0; c < MIN_CHAINS; c++) {
        floats m[BLOCK];
        for (int i = 0; i < n_rows * n_tiles; i++)
            m[i] = f_set(0);
        for (int64_t g = c; g < w->k / min_group; g += MIN_CHAINS)
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++) {
                floats x_sum = sums_of_group(&w->x[t], g, min_group);
                #pragma GCC unroll 12
                for (int i = 0; i < n_rows; i++)
                    m[i * n_tiles + t] = f_fma(f_set(w->min[i * w->n_mins + g]), x_sum, m[i * n_tiles + t]);
            }
        for (int i = 0; i < n_rows * n_tiles; i++)
            mins[i][c] = m[i];
    }
}

#endif
