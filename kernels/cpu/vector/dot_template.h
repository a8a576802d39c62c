/* One token times weights that need no unpacking, in the order of cpu/order.h: the two chains of four rows lie in the lanes. Vectors are
 * of 8 lanes. The file that includes this has `vec` and its functions of a vec.h, INLINE, and
 *   vec load_weights(enum format format, const uint8_t *row, int64_t i, int64_t n)   n steps of a row from step i on, zeros behind
 *   vec multiply_steps(vec sum, vec weights, vec x)                                   sum + the products of a step in each lane
 * where a step is a float, or two bf16. */
#ifndef SUBBYTE_VECTOR_DOT_TEMPLATE_H
#define SUBBYTE_VECTOR_DOT_TEMPLATE_H
#include "cpu/order.h"
#include "formats/formats.h"

enum {
    FOUR = 4,               /* rows in the lanes of a vector */
    FOURS = 2,              /* that take turns: one would wait for each of its additions. Lines of more might not fit the first cache, as */
                            /* rows often lie a multiple of 4096 bytes apart */
    DOT_AHEAD = 8192        /* bytes to fetch ahead of use; the processor's own prefetch stops at each 4 KB page */
};
_Static_assert((int)VLANES == FOUR * (int)FLOAT_CHAINS, "the chains of four rows");

/* n steps, at most 8, of four rows or of one. The numbers are constants but where n is less than 8. */
INLINE vec add_steps(enum format format, const uint8_t *rows, int64_t row_bytes, int n_rows, const float *x, int64_t i, int64_t n, vec sum)
{
    vec weights[FOUR];
    for (int r = 0; r < FOUR; r++)
        weights[r] = r < n_rows ? load_weights(format, rows + r * row_bytes, i, n) : v_set(0);
    v_transpose_pairs(weights);
    for (int j = 0; j < VLANES / 2 && 2 * j < n; j++)
        sum = multiply_steps(sum, weights[j], v_load_pair(x + i + 2 * j, n - 2 * j));
    return sum;
}

/* sums[r] = rows[r] . x for n_rows rows, a constant, over n steps from step `from` on. What lies `ahead` bytes further is fetched from
 * memory meanwhile. */
INLINE void dot_part(enum format format, const uint8_t *rows, int64_t row_bytes, int n_rows, int step_bytes, int64_t from, int64_t end,
                     int64_t ahead, const float *x, float sums[FOURS * FOUR])
{
    const int n_fours = (n_rows + FOUR - 1) / FOUR, of_four = n_rows < FOUR ? n_rows : FOUR, line = 64 / step_bytes;
    vec sum[FOURS];
    for (int f = 0; f < n_fours; f++)
        sum[f] = v_set(0);
    int64_t i = from;
    for (; i + line <= end; i += line) {
        for (int r = 0; r < n_rows; r++)
            __builtin_prefetch(rows + r * row_bytes + i * step_bytes + ahead);
        for (int j = 0; j < line; j += VLANES)
            for (int f = 0; f < n_fours; f++)
                sum[f] = add_steps(format, rows + f * FOUR * row_bytes, row_bytes, of_four, x, i + j, VLANES, sum[f]);
    }
    for (; i < end; i += VLANES)
        for (int f = 0; f < n_fours; f++)
            sum[f] = add_steps(format, rows + f * FOUR * row_bytes, row_bytes, of_four, x, i, end - i < VLANES ? end - i : VLANES, sum[f]);
    for (int f = 0; f < n_fours; f++) {
        float c[FOUR][FLOAT_CHAINS];
        v_store(c[0], sum[f]);
        for (int r = 0; r < of_four; r++)
            sums[f * FOUR + r] = c[r][0] + c[r][1];
    }
}

/* out[r] = rows[r] . x, of n_steps. */
INLINE void dot_rows(enum format format, const uint8_t *rows, int64_t row_bytes, int step_bytes, int n_rows, int64_t n_steps, const float *x,
                     float *out)
{
    const int64_t block = FOURS * FOUR * row_bytes, ahead = (DOT_AHEAD + block - 1) / block * block;
    for (int64_t from = 0; from < n_steps; from += FLOAT_PART) {
        const int64_t end = n_steps - from < FLOAT_PART ? n_steps : from + FLOAT_PART;
        for (int r = 0, n; r < n_rows; r += n) {
            float sums[FOURS * FOUR];
            n = n_rows - r < FOURS * FOUR ? 1 : FOURS * FOUR;
            if (n == 1)
                dot_part(format, rows + r * row_bytes, row_bytes, 1, step_bytes, from, end, ahead, x, sums);
            else
                dot_part(format, rows + r * row_bytes, row_bytes, FOURS * FOUR, step_bytes, from, end, ahead, x, sums);
            for (int j = 0; j < n; j++)
                out[r + j] = from == 0 ? sums[j] : out[r + j] + sums[j];
        }
    }
}

#endif
