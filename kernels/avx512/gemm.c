/* Many tokens with AVX-512 VNNI: tokens in the lanes, the weights broadcast four codes at a time.
 *
 * What bounds it: vpdpbusd, multiplication and fused multiply-add share two pipes. Of 32 weights, 16 tokens and a row they need
 * 8 + 1 + 1, one more for a min or a second scale, and one less where 256 share a scale. Broadcasts serve two tiles of tokens, or they would take all there are loads. */
#include "int8.h"
#include "../avx2/transpose.h"

#define PIECE static inline __attribute__((always_inline))

enum {
    LANES = 16,
    BLOCK = 12,         /* vectors of results that are added up at once; fewer would wait for each other, more have no registers */
    ROWS_OF_ONE = 8     /* of them, rows when there is but one tile */
};

/* Rows in work: code [k], scale [n_groups] and min [n_mins] of the first; and their tiles of tokens. */
struct block {
    const uint8_t *code;
    const float *scale, *min;
    int64_t k, n_groups, n_mins;
    __m512i minus_bias;
    struct q8_tile x[MAX_TILES];
};

PIECE __m512i broadcast_4(const uint8_t *codes)
{
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    return _mm512_set1_epi32(four);
}

/* product[i][t] = the codes of row i, less the bias, times tile t over n * 4 positions from k0 on, whose sums are known. The integer
 * sums start at -bias * sum, which takes the bias out of all codes for free. */
PIECE void multiply(const struct block *w, int n_rows, int n_tiles, int64_t k0, int n, const __m512i sum[MAX_TILES],
                    __m512i product[BLOCK])
{
    for (int t = 0; t < n_tiles; t++) {
        __m512i start = _mm512_mullo_epi32(sum[t], w->minus_bias);
        #pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++)
            product[i * n_tiles + t] = start;
    }
    #pragma GCC unroll 8
    for (int j = 0; j < n; j++) {
        __m512i q[MAX_TILES];
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++)
            q[t] = _mm512_load_si512(w->x[t].q + (k0 / 4 + j) * LANES * 4);
        #pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++) {
            __m512i codes = broadcast_4(w->code + i * w->k + k0 + 4 * j);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++)
                product[i * n_tiles + t] = _mm512_dpbusd_epi32(product[i * n_tiles + t], codes, q[t]);
        }
    }
}

/* The b-th 32 weights of each row, which share a scale. */
PIECE void add_32(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, __m512 acc[BLOCK])
{
    __m512i sum[MAX_TILES], product[BLOCK];
    __m512 x_scale[MAX_TILES], x_sum[MAX_TILES];
    for (int t = 0; t < n_tiles; t++) {
        const int32_t *sums = w->x[t].sum + 2 * b * LANES;
        sum[t] = _mm512_add_epi32(_mm512_load_si512(sums), _mm512_load_si512(sums + LANES));
        x_scale[t] = _mm512_load_ps(w->x[t].scale + b * LANES);
        x_sum[t] = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[t]), x_scale[t]);
    }
    multiply(w, n_rows, n_tiles, 32 * b, 8, sum, product);
    #pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++) {
        __m512 scale = _mm512_set1_ps(w->scale[i * w->n_groups + b]);
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++) {
            __m512 p = _mm512_mul_ps(_mm512_cvtepi32_ps(product[i * n_tiles + t]), x_scale[t]);
            acc[i * n_tiles + t] = _mm512_fmadd_ps(p, scale, acc[i * n_tiles + t]);
            if (has_min)
                acc[i * n_tiles + t] = _mm512_fnmadd_ps(_mm512_set1_ps(w->min[i * w->n_mins + b]), x_sum[t], acc[i * n_tiles + t]);
        }
    }
}

/* The same where halves of them have scales of their own: these go first, then the two meet the scale of x together. */
PIECE void add_2x16(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, __m512 acc[BLOCK])
{
    __m512 both[BLOCK];
    #pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const int64_t g = 2 * b + h;
        __m512i product[BLOCK], sum[MAX_TILES];
        for (int t = 0; t < n_tiles; t++)
            sum[t] = _mm512_load_si512(w->x[t].sum + g * LANES);
        multiply(w, n_rows, n_tiles, 16 * g, 4, sum, product);
        #pragma GCC unroll 12
        for (int i = 0; i < n_rows; i++) {
            __m512 scale = _mm512_set1_ps(w->scale[i * w->n_groups + g]);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++) {
                int at = i * n_tiles + t;
                __m512 p = _mm512_cvtepi32_ps(product[at]);
                both[at] = h == 0 ? _mm512_mul_ps(p, scale) : _mm512_fmadd_ps(p, scale, both[at]);
                if (has_min)
                    both[at] = _mm512_fnmadd_ps(_mm512_set1_ps(w->min[i * w->n_mins + g]), _mm512_cvtepi32_ps(sum[t]), both[at]);
            }
        }
    }
    #pragma GCC unroll 12
    for (int at = 0; at < n_rows * n_tiles; at++)
        acc[at] = _mm512_fmadd_ps(both[at], _mm512_load_ps(w->x[at % n_tiles].scale + b * LANES), acc[at]);
}

/* The b-th 32 weights of folded rows; their scale comes when 256 are done. Mins are of 16. */
PIECE void add_folded(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, __m512 folded[BLOCK])
{
    __m512i sum[MAX_TILES], product[BLOCK];
    __m512 x_scale[MAX_TILES], x_sum[2][MAX_TILES];
    for (int t = 0; t < n_tiles; t++) {
        const int32_t *sums = w->x[t].sum + 2 * b * LANES;
        __m512i half[2] = {_mm512_load_si512(sums), _mm512_load_si512(sums + LANES)};
        sum[t] = _mm512_add_epi32(half[0], half[1]);
        x_scale[t] = _mm512_load_ps(w->x[t].scale + b * LANES);
        for (int h = 0; h < 2; h++)
            x_sum[h][t] = _mm512_mul_ps(_mm512_cvtepi32_ps(half[h]), x_scale[t]);
    }
    multiply(w, n_rows, n_tiles, 32 * b, 8, sum, product);
    #pragma GCC unroll 12
    for (int i = 0; i < n_rows; i++)
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++) {
            int at = i * n_tiles + t;
            folded[at] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product[at]), x_scale[t], folded[at]);
            for (int h = 0; has_min && h < 2; h++)
                folded[at] = _mm512_fnmadd_ps(_mm512_set1_ps(w->min[i * w->n_mins + 2 * b + h]), x_sum[h][t], folded[at]);
        }
}

PIECE void add_256(const struct block *w, int n_rows, int n_tiles, int64_t b, int has_min, __m512 acc[BLOCK])
{
    __m512 folded[BLOCK];
    for (int at = 0; at < n_rows * n_tiles; at++)
        folded[at] = _mm512_setzero_ps();
    for (int i = 0; i < 8; i++)
        add_folded(w, n_rows, n_tiles, 8 * b + i, has_min, folded);
    #pragma GCC unroll 12
    for (int at = 0; at < n_rows * n_tiles; at++)
        acc[at] = _mm512_fmadd_ps(folded[at], _mm512_set1_ps(w->scale[at / n_tiles * w->n_groups + b]), acc[at]);
}

typedef float results[PANEL_ROWS][MAX_TILES * LANES];

PIECE void multiply_rows(const struct block *w, int n_rows, int n_tiles, int group, int has_min, float (*out)[MAX_TILES * LANES])
{
    __m512 acc[BLOCK];
    for (int i = 0; i < n_rows * n_tiles; i++)
        acc[i] = _mm512_setzero_ps();
    for (int64_t b = 0; b < w->k / (group == FOLDED ? FOLDED : 32); b++)
        switch (group) {
        case 16: add_2x16(w, n_rows, n_tiles, b, has_min, acc); break;
        case 32: add_32(w, n_rows, n_tiles, b, has_min, acc); break;
        case FOLDED: add_256(w, n_rows, n_tiles, b, has_min, acc); break;
        }
    for (int i = 0; i < n_rows * n_tiles; i++)
        _mm512_store_ps(out[i / n_tiles] + i % n_tiles * LANES, acc[i]);
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
                              _mm512_set1_epi32(-w->bias), {x[0], x[n_tiles - 1]}};
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

void fill_avx512_gemm(struct kernels *table)
{
    table->gemm = gemm;
    table->gemm_tiles = MAX_TILES;
}
