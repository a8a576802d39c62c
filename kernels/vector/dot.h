/* Dot products of stored rows, in any plain format, with float vectors. */
#ifndef SUBBYTE_DOT_H
#define SUBBYTE_DOT_H
#include "../formats.h"
#include "vec.h"

/* n elements of an array from element i on; `format` is a constant where this is inlined. */
static inline __attribute__((always_inline)) vec v_load_as(enum format format, const void *p, int64_t i, int64_t n)
{
    if (format == FORMAT_F16)
        return v_from_f16((const uint16_t *)p + i, n);
    if (format == FORMAT_BF16)
        return v_from_bf16((const uint16_t *)p + i, n);
    return v_load_n((const float *)p + i, n);
}

/* sums[v * 4 + r] = rows[r] . x[v], for 4 or 1 rows of k elements and a few vectors that share every load of the rows; sizes are
 * constants where this is inlined. */
static inline __attribute__((always_inline)) void dots(enum format format, const void *rows, int n_rows, int64_t k, const float *x,
                                                       int n_x, int64_t x_stride, vec *sums)
{
    vec sum[V_REGISTERS / 2], row[4];
    for (int s = 0; s < n_rows * n_x; s++)
        sum[s] = v_set(0);
    for (int64_t i = 0; i < k; i += VLANES) {
        int64_t n = k - i;
        for (int r = 0; r < n_rows; r++)
            row[r] = v_load_as(format, rows, r * k + i, n);
        for (int v = 0; v < n_x; v++) {
            vec xs = v_load_n(x + v * x_stride + i, n);
            for (int r = 0; r < n_rows; r++)
                sum[v * n_rows + r] = v_fma(row[r], xs, sum[v * n_rows + r]);
        }
    }
    for (int s = 0; s < n_rows * n_x; s++)
        sums[s] = sum[s];
}

#endif
