/* Dot products of stored rows, in any plain format or Q8_0, with float vectors. */
#ifndef SUBBYTE_VECTOR_DOT_H
#define SUBBYTE_VECTOR_DOT_H
#include "convert.h"

/* The most rows and vectors that meet at once. */
enum { DOT_ROWS = 4, DOT_VECTORS = 4 };

/* sum[v * n_rows + r] += rows[r] . x[v] over n elements of vector c of those that begin at element i, see v_load_row. */
INLINE void dots_step(enum format format, const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_x, int64_t i, int c,
                      int64_t n, int64_t ahead, vec *sum)
{
    int64_t bytes = padded_row_bytes(format, k);
    vec row[DOT_ROWS];
    for (int r = 0; r < n_rows; r++) {
        if (ahead && (c == 0 || format == FORMAT_F32))           /* two vectors of the smaller formats share a cache line */
            __builtin_prefetch(rows + r * bytes + row_bytes(format, i + (format == FORMAT_F32) * c * VLANES) + ahead);
        row[r] = v_load_row(format, rows + r * bytes, i, c, n);
    }
    for (int v = 0; v < n_x; v++) {
        vec part = v_load_n(x + v * k + i + c * VLANES, n);
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
    for (; i + 2 * VLANES <= k; i += 2 * VLANES)
        for (int c = 0; c < 2; c++)
            dots_step(format, rows, n_rows, k, x, n_x, i, c, VLANES, ahead, sum);
    for (; i < k; i += VLANES)
        dots_step(format, rows, n_rows, k, x, n_x, i, 0, k - i, ahead, sum);
    for (int s = 0; s < n_rows * n_x; s++)
        sums[s] = sum[s];
}

#endif
