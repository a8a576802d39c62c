/* Many tokens with VNNI: tokens in the lanes, the weights broadcast four codes at a time. Written for vectors of 8 and of 16 lanes:
 * the file that includes this has these, ints and floats, with what is done to them, and
 *   LANES
 *   BLOCK          vectors of results in work
 *   ROWS_OF_ONE    of them, rows when there is but one tile */
#ifndef SUBBYTE_AVX512_GEMM_TEMPLATE_H
#define SUBBYTE_AVX512_GEMM_TEMPLATE_H
#include "cpu/avx2/transpose.h"
#include "gemm_block.h"

typedef float results[PANEL_ROWS][MAX_TILES * LANES];

/* Mins are of groups of 16 where codes are folded or scales are of 16, else of 32. */
FORCE_INLINE void multiply_rows(const struct block *w, int n_rows, int n_tiles, int group, int has_factor, int has_min,
                                float (*out)[MAX_TILES * LANES])
{
    floats acc[BLOCK];
    min_chains mins;
    const int block = has_factor ? 8 : 1, min_group = group == 32 ? 32 : 16;
    for (int i = 0; i < n_rows * n_tiles; i++)
        acc[i] = f_set(0);
    for (int64_t b = 0; b < w->k / 32; b += block) {
        floats sum[BLOCK];
        for (int i = 0; i < n_rows * n_tiles && has_factor; i++)
            sum[i] = f_set(0);
        for (int j = 0; j < block; j++)
            add_32(w, n_rows, n_tiles, b + j, group, has_factor ? sum : acc);
        if (!has_factor)
            continue;
        #pragma GCC unroll 12
        for (int i = 0; i < n_rows * n_tiles; i++)
            acc[i] = f_fma(sum[i], f_set(w->factor[i / n_tiles * w->n_factors + b / 8]), acc[i]);
    }
    if (has_min)
        multiply_mins(w, n_rows, n_tiles, min_group, mins);
    for (int i = 0; i < n_rows * n_tiles; i++)
        f_store(out[i / n_tiles] + i % n_tiles * LANES, has_min ? f_sub(acc[i], SUM_OF_MINS(mins[i], )) : acc[i]);
}

/* The last rows are taken with some of those before them, whose results are the same again. */
FORCE_INLINE void multiply_tiles(const struct panel *w, const struct q8_tile *x, int n_tiles, int group, int has_factor, int has_min,
                                 results out)
{
    const int at_once = n_tiles == 1 ? ROWS_OF_ONE : BLOCK / n_tiles;
    for (int r = 0; r < w->n_rows; r += at_once) {
        int first = r + at_once <= w->n_rows || w->n_rows < at_once ? r : w->n_rows - at_once;
        if (w->n_rows >= at_once) {
            struct block block = rows_from(w, first, group, x, n_tiles);
            multiply_rows(&block, at_once, n_tiles, group, has_factor, has_min, out + first);
            continue;
        }
        for (; first < w->n_rows; first++) {
            struct block block = rows_from(w, first, group, x, n_tiles);
            multiply_rows(&block, 1, n_tiles, group, has_factor, has_min, out + first);
        }
    }
}

FORCE_INLINE void one_or_two_tiles(const struct panel *w, const struct q8_tile *x, int n_tokens, int group, int has_factor,
                            int has_min, float *out, int64_t out_stride)
{
    _Alignas(64) results block;
    int64_t at = LANES * w->k;
    struct q8_tile tiles[MAX_TILES] = {*x, {x->q + at, x->scale + at / 32, x->sum + at / 16}};
    if (n_tokens > LANES)
        multiply_tiles(w, tiles, 2, group, has_factor, has_min, block);
    else
        multiply_tiles(w, tiles, 1, group, has_factor, has_min, block);
    store_transposed(block[0], MAX_TILES * LANES, w->n_rows, n_tokens, out, out_stride);
}

/* A copy of the loops for each case, so that group and whether there are factors and mins are constants in it. */
#define KEY(group, factor, min) ((group) + 2 * (factor) + (min))
#define CASES \
    CASE(16, 1, 0) CASE(16, 1, 1) CASE(32, 0, 0) CASE(32, 0, 1) CASE(32, 1, 0) CASE(32, 1, 1) CASE(FOLDED, 1, 0) CASE(FOLDED, 1, 1)

static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
#define CASE(group, factor, min) \
    case KEY(group, factor, min): one_or_two_tiles(w, x, n_tokens, group, factor, min, out, out_stride); break;
    switch (KEY(w->group, w->has_factor != 0, w->has_min != 0)) {
    CASES
    }
#undef CASE
}

#endif
