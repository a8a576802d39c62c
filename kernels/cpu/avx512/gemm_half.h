/* At most 8 tokens with AVX-512 VNNI: half a tile (pack_q8 of pack.c).
 *
 * Each token has eight activations in a vector and meets eight codes of a row, so that half of the products and of the loads are left that a
 * whole tile takes. Two rows then share the floats, for two shuffles and an addition: a quarter of a vector has two tokens of the
 * first row and the same two of the second. */
#ifndef SUBBYTE_AVX512_GEMM_HALF_H
#define SUBBYTE_AVX512_GEMM_HALF_H
#include "gemm_block.h"

enum { HALF_ROWS = 8 };         /* in work */

/* A number of each of two rows. */
FORCE_INLINE floats of_two_rows(const float *first, int64_t stride)
{
    return _mm512_mask_mov_ps(f_set(first[0]), 0xcccc, f_set(first[stride]));
}

#define PAIRS(a, ...) _mm512_castpd_ps(_mm512_permutexvar_pd(_mm512_setr_epi64(__VA_ARGS__), _mm512_castps_pd(a)))
FORCE_INLINE floats for_two_rows(floats tokens) { return PAIRS(tokens, 0, 0, 1, 1, 2, 2, 3, 3); }
FORCE_INLINE floats first_row(floats two) { return PAIRS(two, 0, 2, 4, 6, 1, 3, 5, 7); }
FORCE_INLINE floats second_row(floats two) { return PAIRS(two, 1, 3, 5, 7, 0, 2, 4, 6); }
#undef PAIRS

FORCE_INLINE ints add_two_rows(ints first, ints second)
{
    floats a = _mm512_castsi512_ps(first), b = _mm512_castsi512_ps(second);
    return i_add(_mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88)), _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd)));
}

/* product[i / 2] = the codes of rows i and i + 1, less the bias, times n activations from k0 on, whose sums are known. */
FORCE_INLINE void multiply_half(const struct block *w, int n_rows, int64_t k0, int n, ints sum, ints product[HALF_ROWS / 2])
{
    ints eights[HALF_ROWS];
    ints start = i_mul(_mm512_castps_si512(for_two_rows(_mm512_castsi512_ps(sum))), w->minus_bias);
    #pragma GCC unroll 4
    for (int j = 0; j < n / 8; j++) {
        ints q = i_load(w->x[0].q + (k0 / 8 + j) * 64);
        #pragma GCC unroll 8
        for (int i = 0; i < n_rows; i++) {
            int64_t codes;
            __builtin_memcpy(&codes, w->code + i * w->n_codes + k0 + 8 * j, sizeof codes);
            eights[i] = i_dot(j == 0 ? i_set(0) : eights[i], _mm512_set1_epi64(codes), q);
        }
    }
    #pragma GCC unroll 4
    for (int i = 0; i < n_rows; i += 2)
        product[i / 2] = i_add(start, add_two_rows(eights[i], eights[i + 1]));
}

/* The b-th 32 weights of each row, added to the chains of two rows. */
FORCE_INLINE void add_32_half(const struct block *w, int n_rows, int64_t b, int group, floats acc[HALF_ROWS / 2])
{
    const int n_halves = group == 16 ? 2 : 1;
    const int32_t *sums = w->x[0].sum + 2 * b * LANES;
    floats p[HALF_ROWS / 2], x_scale = for_two_rows(f_load(w->x[0].scale + b * LANES));
    #pragma GCC unroll 2
    for (int h = 0; h < n_halves; h++) {
        ints product[HALF_ROWS / 2], sum = group == 16 ? i_load(sums + h * LANES) : i_add(i_load(sums), i_load(sums + LANES));
        multiply_half(w, n_rows, 32 * b + 16 * h, 32 / n_halves, sum, product);
        #pragma GCC unroll 4
        for (int i = 0; i < n_rows / 2; i++) {
            floats sum_of = i_to_float(product[i]);
            if (group == FOLDED) {
                p[i] = sum_of;
                continue;
            }
            floats scale = of_two_rows(w->scale + 2 * i * w->n_scales + n_halves * b + h, w->n_scales);
            p[i] = h == 0 ? f_mul(sum_of, scale) : f_fma(sum_of, scale, p[i]);
        }
    }
    #pragma GCC unroll 4
    for (int i = 0; i < n_rows / 2; i++)
        acc[i] = f_fma(p[i], x_scale, acc[i]);
}

FORCE_INLINE void multiply_rows_half(const struct block *w, int n_rows, int group, int has_factor, int has_min,
                                     float (*out)[MAX_TILES * LANES])
{
    floats acc[HALF_ROWS / 2];
    min_chains mins;
    for (int i = 0; i < n_rows / 2; i++)
        acc[i] = f_set(0);
    for (int64_t b = 0; b < w->k / 32; b += has_factor ? 8 : 1) {
        floats sum[HALF_ROWS / 2];
        for (int i = 0; i < n_rows / 2 && has_factor; i++)
            sum[i] = f_set(0);
        for (int j = 0; j < (has_factor ? 8 : 1); j++)
            add_32_half(w, n_rows, b + j, group, has_factor ? sum : acc);
        #pragma GCC unroll 4
        for (int i = 0; i < n_rows / 2 && has_factor; i++)
            acc[i] = f_fma(sum[i], of_two_rows(w->factor + 2 * i * w->n_factors + b / 8, w->n_factors), acc[i]);
    }
    if (has_min)
        multiply_mins(w, n_rows, 1, group == 32 ? 32 : 16, mins);
    for (int i = 0; i < n_rows; i++) {
        floats row = i % 2 ? second_row(acc[i / 2]) : first_row(acc[i / 2]);
        f_store(out[i], has_min ? f_sub(row, SUM_OF_MINS(mins[i], )) : row);
    }
}

/* out[t * out_stride + r], as gemm. The last rows are taken with some of those before them, whose results are the same again; of less than
 * HALF_ROWS two at a time, the last one twice. */
FORCE_INLINE void multiply_panel_half(const struct panel *w, const struct q8_tile *x, int n_tokens, int group, int has_factor, int has_min,
                                      float *out, int64_t out_stride)
{
    _Alignas(64) results sums;
    const int at_once = w->n_rows < HALF_ROWS ? 2 : HALF_ROWS;
    for (int r = 0; r < w->n_rows; r += at_once) {
        int first = r + at_once > w->n_rows && w->n_rows >= HALF_ROWS ? w->n_rows - at_once : r;
        struct block rows = rows_from(w, first, group, x, 1);
        if (first + at_once > w->n_rows)
            rows.n_codes = rows.n_scales = rows.n_factors = rows.n_mins = 0;
        if (at_once == 2)
            multiply_rows_half(&rows, 2, group, has_factor, has_min, sums + first);
        else
            multiply_rows_half(&rows, HALF_ROWS, group, has_factor, has_min, sums + first);
    }
    store_transposed(sums[0], MAX_TILES * LANES, w->n_rows, n_tokens, out, out_stride);
}

static void gemm_half(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
#define CASE(group, factor, min) \
    case KEY(group, factor, min): multiply_panel_half(w, x, n_tokens, group, factor, min, out, out_stride); break;
    switch (KEY(w->group, w->has_factor != 0, w->has_min != 0)) {
    CASES
    }
#undef CASE
}

#endif
