/* Many tokens with VNNI: tokens in the lanes, the weights broadcast four codes at a time. Written for vectors of 8 and of 16 lanes:
 * the file that includes this has these, ints and floats, with what is done to them, and
 *   LANES
 *   BLOCK          vectors of results that are added up at once
 *   ROWS_OF_ONE    of them, rows when there is but one tile
 *
 * What bounds it: vpdpbusd, multiplication and fused multiply-add share two pipes. Of 32 weights, a vector of tokens and a row
 * they need 8 + 1 + 1, one more for a min or a second scale, and one less where 256 share a scale. Broadcasts serve two tiles of
 * tokens, or they would take all there are loads. */
#ifndef SUBBYTE_VNNI_GEMM_H
#define SUBBYTE_VNNI_GEMM_H
#include "../kernels.h"
#include "../avx2/transpose.h"

/* Rows in work: code [k], scale [n_groups] and min [n_mins] of the first; and their tiles of tokens. */
struct block {
    const uint8_t *code;
    const float *scale, *min;
    int64_t k, n_groups, n_mins;
    ints minus_bias;
    struct q8_tile x[MAX_TILES];
};

PIECE ints broadcast_4(const uint8_t *codes)
{
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    return i_set(four);
}

/* product[i][t] = the codes of row i, less the bias, times tile t over n * 4 positions from k0 on, whose sums are known. The integer
 * sums start at -bias * sum, which takes the bias out of all codes for free. */
PIECE void multiply(const struct block *w, int n_rows, int n_tiles, int64_t k0, int n, const ints sum[MAX_TILES],
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
            ints codes = broadcast_4(w->code + i * w->k + k0 + 4 * j);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++)
                product[i * n_tiles + t] = i_dot(product[i * n_tiles + t], codes, q[t]);
        }
    }
}

/* The b-th 32 weights of each row, which share a scale. */
PIECE void add_32(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, floats acc[BLOCK])
{
    ints sum[MAX_TILES], product[BLOCK];
    floats x_scale[MAX_TILES], x_sum[MAX_TILES];
    for (int t = 0; t < n_tiles; t++) {
        const int32_t *sums = w->x[t].sum + 2 * b * LANES;
        sum[t] = i_add(i_load(sums), i_load(sums + LANES));
        x_scale[t] = f_load(w->x[t].scale + b * LANES);
        x_sum[t] = f_mul(i_to_float(sum[t]), x_scale[t]);
    }
    multiply(w, n_rows, n_tiles, 32 * b, 8, sum, product);
    #pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++) {
        floats scale = f_set(w->scale[i * w->n_groups + b]);
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++) {
            floats p = f_mul(i_to_float(product[i * n_tiles + t]), x_scale[t]);
            acc[i * n_tiles + t] = f_fma(p, scale, acc[i * n_tiles + t]);
            if (has_min)
                acc[i * n_tiles + t] = f_fnma(f_set(w->min[i * w->n_mins + b]), x_sum[t], acc[i * n_tiles + t]);
        }
    }
}

/* The same where halves of them have scales of their own: these go first, then the two meet the scale of x together. */
PIECE void add_2x16(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, floats acc[BLOCK])
{
    floats both[BLOCK];
    #pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const int64_t g = 2 * b + h;
        ints product[BLOCK], sum[MAX_TILES];
        for (int t = 0; t < n_tiles; t++)
            sum[t] = i_load(w->x[t].sum + g * LANES);
        multiply(w, n_rows, n_tiles, 16 * g, 4, sum, product);
        #pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++) {
            floats scale = f_set(w->scale[i * w->n_groups + g]);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++) {
                int at = i * n_tiles + t;
                floats p = i_to_float(product[at]);
                both[at] = h == 0 ? f_mul(p, scale) : f_fma(p, scale, both[at]);
                if (has_min)
                    both[at] = f_fnma(f_set(w->min[i * w->n_mins + g]), i_to_float(sum[t]), both[at]);
            }
        }
    }
    #pragma GCC unroll 12
    for (int at = 0; at < n_rows * n_tiles; at++)
        acc[at] = f_fma(both[at], f_load(w->x[at % n_tiles].scale + b * LANES), acc[at]);
}

/* The b-th 32 weights of folded rows; their scale comes when 256 are done. Mins are of 16. */
PIECE void add_folded(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, floats folded[BLOCK])
{
    ints sum[MAX_TILES], product[BLOCK];
    floats x_scale[MAX_TILES], x_sum[2][MAX_TILES];
    for (int t = 0; t < n_tiles; t++) {
        const int32_t *sums = w->x[t].sum + 2 * b * LANES;
        ints half[2] = {i_load(sums), i_load(sums + LANES)};
        sum[t] = i_add(half[0], half[1]);
        x_scale[t] = f_load(w->x[t].scale + b * LANES);
        for (int h = 0; h < 2; h++)
            x_sum[h][t] = f_mul(i_to_float(half[h]), x_scale[t]);
    }
    multiply(w, n_rows, n_tiles, 32 * b, 8, sum, product);
    #pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++)
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++) {
            int at = i * n_tiles + t;
            folded[at] = f_fma(i_to_float(product[at]), x_scale[t], folded[at]);
            for (int h = 0; has_min && h < 2; h++)
                folded[at] = f_fnma(f_set(w->min[i * w->n_mins + 2 * b + h]), x_sum[h][t], folded[at]);
        }
}

PIECE void add_256(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, floats acc[BLOCK])
{
    floats folded[BLOCK];
    for (int at = 0; at < n_rows * n_tiles; at++)
        folded[at] = f_set(0);
    for (int i = 0; i < 8; i++)
        add_folded(w, n_rows, n_tiles, 8 * b + i, has_min, folded);
    #pragma GCC unroll 12
    for (int at = 0; at < n_rows * n_tiles; at++)
        acc[at] = f_fma(folded[at], f_set(w->scale[at / n_tiles * w->n_groups + b]), acc[at]);
}

typedef float results[PANEL_ROWS][MAX_TILES * LANES];

PIECE void multiply_rows(const struct block *w, int n_rows, int n_tiles, int group, int has_min, float (*out)[MAX_TILES * LANES])
{
    floats acc[BLOCK];
    for (int i = 0; i < n_rows * n_tiles; i++)
        acc[i] = f_set(0);
    for (int64_t b = 0; b < w->k / (group == FOLDED ? FOLDED : 32); b++)
        switch (group) {
        case 16: add_2x16(w, n_rows, n_tiles, b, has_min, acc); break;
        case 32: add_32(w, n_rows, n_tiles, b, has_min, acc); break;
        case FOLDED: add_256(w, n_rows, n_tiles, b, has_min, acc); break;
        }
    for (int i = 0; i < n_rows * n_tiles; i++)
        f_store(out[i / n_tiles] + i % n_tiles * LANES, acc[i]);
}

/* out[t * out_stride + r] = in[r][t] */
static void transpose(results in, int n_rows, int n_tokens, float *out, int64_t out_stride)
{
    int r = 0;
    for (; r + 8 <= n_rows; r += 8)
        for (int t = 0; t < n_tokens; t += 8) {
            __m256i v[8];
            #pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                v[i] = _mm256_load_si256((const void *)(in[r + i] + t));
            transpose_8x8(v);
            #pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                if (t + i < n_tokens)
                    _mm256_storeu_si256((void *)(out + (t + i) * out_stride + r), v[i]);
        }
    for (; r < n_rows; r++)
        for (int t = 0; t < n_tokens; t++)
            out[t * out_stride + r] = in[r][t];
}

/* The last rows are taken with some of those before them, whose results are the same again. */
PIECE void multiply_tiles(const struct panel *w, const struct q8_tile *x, int n_tiles, int group, int has_min, results out)
{
    const int at_once = n_tiles == 1 ? ROWS_OF_ONE : BLOCK / n_tiles;
    const int64_t n_groups = w->k / group, n_mins = w->k / (group == FOLDED ? 16 : group);
    for (int r = 0; r < w->n_rows; r += at_once) {
        int first = r + at_once <= w->n_rows || w->n_rows < at_once ? r : w->n_rows - at_once;
        struct block block = {w->code + first * w->k, w->scale + first * n_groups, w->min + first * n_mins, w->k, n_groups, n_mins,
                              i_set(-w->bias), {x[0], x[n_tiles - 1]}};
        if (w->n_rows >= at_once)
            multiply_rows(&block, at_once, n_tiles, group, has_min, out + first);
        else
            for (; first < w->n_rows; first++, block.code += w->k, block.scale += n_groups, block.min += n_mins)
                multiply_rows(&block, 1, n_tiles, group, has_min, out + first);
    }
}

PIECE void one_or_two_tiles(const struct panel *w, const struct q8_tile *x, int n_tokens, int group, int has_min, float *out,
                            int64_t out_stride)
{
    _Alignas(64) results block;
    int64_t at = LANES * w->k;
    struct q8_tile tiles[MAX_TILES] = {*x, {x->q + at, x->scale + at / 32, x->sum + at / 16}};
    if (n_tokens > LANES)
        multiply_tiles(w, tiles, 2, group, has_min, block);
    else
        multiply_tiles(w, tiles, 1, group, has_min, block);
    transpose(block, w->n_rows, n_tokens, out, out_stride);
}

/* A copy of the loops for each case, so that group and has_min are constants in it. */
static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
    switch (w->group + (w->has_min != 0)) {
    case 16: one_or_two_tiles(w, x, n_tokens, 16, 0, out, out_stride); break;
    case 17: one_or_two_tiles(w, x, n_tokens, 16, 1, out, out_stride); break;
    case 32: one_or_two_tiles(w, x, n_tokens, 32, 0, out, out_stride); break;
    case 33: one_or_two_tiles(w, x, n_tokens, 32, 1, out, out_stride); break;
    case FOLDED: one_or_two_tiles(w, x, n_tokens, FOLDED, 0, out, out_stride); break;
    case FOLDED + 1: one_or_two_tiles(w, x, n_tokens, FOLDED, 1, out, out_stride); break;
    }
}

#endif
