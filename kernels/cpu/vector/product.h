/* The micro-kernel that float weights and both products of attention share: tokens lie in the lanes of a tile, elements of the other
 * matrix are broadcast, a few of its rows at a time, so that their sums stay in registers. */
#ifndef SUBBYTE_VECTOR_PRODUCT_H
#define SUBBYTE_VECTOR_PRODUCT_H
#include "convert.h"

/* Enough rows to hide the latency of an FMA (4 cycles, two a cycle). Not more: rows that lie a multiple of 4096 bytes apart fall into one
 * set of the first cache, which holds 8 to 12 lines (16 rows of 2048 floats: a quarter of the speed). */
enum { PRODUCT_ROWS = 8, PAIR_ROWS = V_REGISTERS / 4 };

/* out[r][t] = the sum over i of a[r * a_row + i * a_k] * tile[i][t]; n_rows is a constant where this is inlined. */
INLINE void product_rows(const float *a, int64_t a_row, int64_t a_k, int n_rows, int64_t k, const float *tile, float *out)
{
    vec sum[PRODUCT_ROWS];
    for (int r = 0; r < n_rows; r++)
        sum[r] = v_set(0);
    for (int64_t i = 0; i < k; i++, a += a_k, tile += VLANES) {
        vec x = v_load(tile);
        for (int r = 0; r < n_rows; r++)
            sum[r] = v_fma(v_set(a[r * a_row]), x, sum[r]);
    }
    for (int r = 0; r < n_rows; r++)
        v_store(out + r * VLANES, sum[r]);
}

/* The same for two tiles: an element that is broadcast once meets both. */
INLINE void product_pair(const float *a, int64_t a_row, int64_t a_k, int n_rows, int64_t k, const float *tile[2], float *out[2])
{
    vec sum[2][PAIR_ROWS];
    for (int r = 0; r < n_rows; r++)
        sum[0][r] = sum[1][r] = v_set(0);
    for (int64_t i = 0; i < k; i++, a += a_k) {
        vec x = v_load(tile[0] + i * VLANES), y = v_load(tile[1] + i * VLANES);
        for (int r = 0; r < n_rows; r++) {
            vec element = v_set(a[r * a_row]);
            sum[0][r] = v_fma(element, x, sum[0][r]);
            sum[1][r] = v_fma(element, y, sum[1][r]);
        }
    }
    for (int r = 0; r < n_rows; r++) {
        v_store(out[0] + r * VLANES, sum[0][r]);
        v_store(out[1] + r * VLANES, sum[1][r]);
    }
}

/* The same for any number of rows. */
static inline void product(const float *a, int64_t a_row, int64_t a_k, int n_rows, int64_t k, const float *tile, float *out)
{
    int r = 0;
    for (; r + PRODUCT_ROWS <= n_rows; r += PRODUCT_ROWS)
        product_rows(a + r * a_row, a_row, a_k, PRODUCT_ROWS, k, tile, out + r * VLANES);
    for (; r + 4 <= n_rows; r += 4)
        product_rows(a + r * a_row, a_row, a_k, 4, k, tile, out + r * VLANES);
    for (; r < n_rows; r++)
        product_rows(a + r * a_row, a_row, a_k, 1, k, tile, out + r * VLANES);
}

/* The same for n_tiles, 1 or 2. */
static inline void products(const float *a, int64_t a_row, int64_t a_k, int n_rows, int64_t k, const float *tile[2], int n_tiles,
                            float *out[2])
{
    int r = 0;
    for (; n_tiles == 2 && r + PAIR_ROWS <= n_rows; r += PAIR_ROWS) {
        float *at[2] = {out[0] + r * VLANES, out[1] + r * VLANES};
        product_pair(a + r * a_row, a_row, a_k, PAIR_ROWS, k, tile, at);
    }
    for (int t = 0; t < n_tiles; t++)
        product(a + r * a_row, a_row, a_k, n_rows - r, k, tile[t], out[t] + r * VLANES);
}

#endif
