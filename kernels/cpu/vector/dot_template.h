/* Few tokens times weights that need no unpacking, in the order of cpu/order.h: the two chains of four rows lie in the lanes. Vectors are
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
    TOGETHER = 4,           /* tokens that meet weights while these are in registers */
    DOT_AHEAD = 8192        /* bytes to fetch ahead of use; the processor's own prefetch stops at each 4 KB page */
};
_Static_assert((int)VLANES == FOUR * (int)FLOAT_CHAINS, "the chains of four rows");

/* n steps, at most 8, of four rows or of one, added to a chain of each token. The numbers are constants but where n is less than 8. */
INLINE void add_steps(enum format format, const uint8_t *rows, int64_t row_bytes, int n_rows, const float *x, int64_t stride, int n_tokens,
                      int64_t i, int64_t n, vec sum[TOGETHER])
{
    vec weights[FOUR];
    for (int r = 0; r < FOUR; r++)
        weights[r] = r < n_rows ? load_weights(format, rows + r * row_bytes, i, n) : v_set(0);
    v_transpose_pairs(weights);
    for (int j = 0; j < VLANES / 2 && 2 * j < n; j++)
        for (int t = 0; t < n_tokens; t++)
            sum[t] = multiply_steps(sum[t], weights[j], v_load_pair(x + t * stride + i + 2 * j, n - 2 * j));
}

/* sums[t][r] = rows[r] . x[t] for n_rows rows and n_tokens tokens, constants both, over n steps from step `from` on. What lies `ahead` bytes
 * further is fetched from memory meanwhile. */
INLINE void dot_part(enum format format, const uint8_t *rows, int64_t row_bytes, int n_rows, int step_bytes, int64_t from, int64_t end,
                     int64_t ahead, const float *x, int64_t stride, int n_tokens, float sums[TOGETHER][FOURS * FOUR])
{
    const int n_fours = (n_rows + FOUR - 1) / FOUR, of_four = n_rows < FOUR ? n_rows : FOUR, line = 64 / step_bytes;
    const int64_t four_bytes = FOUR * row_bytes;
    vec sum[FOURS][TOGETHER];
    for (int f = 0; f < n_fours; f++)
        for (int t = 0; t < n_tokens; t++)
            sum[f][t] = v_set(0);
    int64_t i = from;
    for (; i + line <= end; i += line) {
        for (int r = 0; r < n_rows; r++)
            __builtin_prefetch(rows + r * row_bytes + i * step_bytes + ahead);
        for (int j = 0; j < line; j += VLANES)
            for (int f = 0; f < n_fours; f++)
                add_steps(format, rows + f * four_bytes, row_bytes, of_four, x, stride, n_tokens, i + j, VLANES, sum[f]);
    }
    for (; i < end; i += VLANES)
        for (int f = 0; f < n_fours; f++)
            add_steps(format, rows + f * four_bytes, row_bytes, of_four, x, stride, n_tokens, i, end - i < VLANES ? end - i : VLANES, sum[f]);
    for (int f = 0; f < n_fours; f++)
        for (int t = 0; t < n_tokens; t++) {
            float c[FOUR][FLOAT_CHAINS];
            v_store(c[0], sum[f][t]);
            for (int r = 0; r < of_four; r++)
                sums[t][f * FOUR + r] = c[r][0] + c[r][1];
        }
}

/* The same for any number of tokens, at most TOGETHER. */
INLINE void dot_tokens(enum format format, const uint8_t *rows, int64_t row_bytes, int n_rows, int step_bytes, int64_t from, int64_t end,
                       int64_t ahead, const float *x, int64_t stride, int n_tokens, float sums[TOGETHER][FOURS * FOUR])
{
    switch (n_tokens) {
    case 1: dot_part(format, rows, row_bytes, n_rows, step_bytes, from, end, ahead, x, stride, 1, sums); break;
    case 2: dot_part(format, rows, row_bytes, n_rows, step_bytes, from, end, ahead, x, stride, 2, sums); break;
    case 3: dot_part(format, rows, row_bytes, n_rows, step_bytes, from, end, ahead, x, stride, 3, sums); break;
    default: dot_part(format, rows, row_bytes, n_rows, step_bytes, from, end, ahead, x, stride, TOGETHER, sums);
    }
}

/* out[t * out_stride + r] = rows[r] . x[t], of n_steps; a token's steps lie `stride` behind those of the one before. */
INLINE void dot_rows(enum format format, const uint8_t *rows, int64_t row_bytes, int step_bytes, int n_rows, int64_t n_steps, const float *x,
                     int64_t stride, int n_tokens, float *out, int64_t out_stride)
{
    const int64_t block = FOURS * FOUR * row_bytes, ahead = (DOT_AHEAD + block - 1) / block * block;
    for (int64_t from = 0; from < n_steps; from += FLOAT_PART) {
        const int64_t end = n_steps - from < FLOAT_PART ? n_steps : from + FLOAT_PART;
        for (int r = 0, n; r < n_rows; r += n) {
            n = n_rows - r < FOURS * FOUR ? 1 : FOURS * FOUR;
            for (int first = 0; first < n_tokens; first += TOGETHER) {
                const int some = n_tokens - first < TOGETHER ? n_tokens - first : TOGETHER;
                float sums[TOGETHER][FOURS * FOUR], *p = out + first * out_stride + r;
                if (n == 1)
                    dot_tokens(format, rows + r * row_bytes, row_bytes, 1, step_bytes, from, end, ahead, x + first * stride, stride, some, sums);
                else
                    dot_tokens(format, rows + r * row_bytes, row_bytes, FOURS * FOUR, step_bytes, from, end, ahead, x + first * stride,
                               stride, some, sums);
                for (int t = 0; t < some; t++)
                    for (int j = 0; j < n; j++)
                        p[t * out_stride + j] = from == 0 ? sums[t][j] : p[t * out_stride + j] + sums[t][j];
            }
        }
    }
}

#endif
