/* The micro-kernel that float weights and both products of attention share: tokens lie in the lanes of a tile, elements of the other
 * matrix are broadcast, a few of its rows at a time, so that their sums stay in registers. */
#ifndef SUBBYTE_PRODUCT_H
#define SUBBYTE_PRODUCT_H
#include "convert.h"

/* Enough rows to hide the latency of an FMA (4 cycles, two a cycle). Not more: rows that lie a multiple of 4096 bytes apart fall into one
 * set of the first cache, which holds 8 to 12 lines (16 rows of 2048 floats: a quarter of the speed). */
enum { PRODUCT_ROWS = 8 };

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

#endif
