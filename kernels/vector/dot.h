/* Dot products of stored rows, in any plain format, with float vectors. */
#ifndef SUBBYTE_DOT_H
#define SUBBYTE_DOT_H
#include "convert.h"

/* The most rows and vectors that meet at once. */
enum { DOT_ROWS = 4, DOT_VECTORS = 4 };

/* sum[v * n_rows + r] += rows[r] . x[v] over n elements from element i on. */
INLINE void dots_step(enum format format, const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_x, int64_t i,
                      int64_t n, int64_t ahead, vec *sum)
{
    vec row[DOT_ROWS];
    for (int r = 0; r < n_rows; r++) {
        if (ahead)
            __builtin_prefetch(rows + row_bytes(format, r * k + i) + ahead);
        row[r] = v_load_as(format, rows, r * k + i, n);
    }
    for (int v = 0; v < n_x; v++) {
        vec part = v_load_n(x + v * k + i, n);
        for (int r = 0; r < n_rows; r++)
            sum[v * n_rows + r] = v_fma(row[r], part, sum[v * n_rows + r]);
    }
}

/* sums[v * n_rows + r] = rows[r] . x[v], for n_rows rows of k elements and n_x vectors that share every load of the rows; both are
 * constants where this is inlined. What lies `ahead` bytes further is fetched from memory meanwhile, unless that is 0. */
INLINE void dots(enum format format, const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_x, int64_t ahead, vec *sums)
{
    vec sum[DOT_ROWS * DOT_VECTORS];
    for (int s = 0; s < n_rows * n_x; s++)
        sum[s] = v_set(0);
    int64_t i = 0;
    for (; i + VLANES <= k; i += VLANES)
        dots_step(format, rows, n_rows, k, x, n_x, i, VLANES, ahead, sum);
    if (i < k)
        dots_step(format, rows, n_rows, k, x, n_x, i, k - i, ahead, sum);
    for (int s = 0; s < n_rows * n_x; s++)
        sums[s] = sum[s];
}

#endif
