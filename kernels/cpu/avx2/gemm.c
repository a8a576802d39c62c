/* Many tokens with AVX2: 8 tokens in the lanes, 4 rows by two tiles of them at a time, weights broadcast four codes at a time. The
 * loops are gemm_loops.h; here is what they need, and what comes before and after. */
#include <string.h>
#include "cpu/kernel_table.h"
#include "gemm_loops.h"
#include "transpose.h"

enum { MIN_PART = 4096 };       /* of weights of a row: the sums of their activations stay in the first cache */

_Static_assert(PANEL_ROWS % 8 == 0 && PART % 256 == 0, "rows and blocks come whole");

/* How many results of vpmaddubsw, two products each, an int16 lane can add up: 8, 4 or 2, at most a group. It is the sum of
 * (code - bias) * q that must fit, and may wrap around on its way; but vpmaddubsw, of unsigned codes, saturates: BYTES. */
#define DEPTH_OF(bias, max_code) \
    (MAGNITUDE(bias, max_code) > 64 ? BYTES : MAGNITUDE(bias, max_code) > 32 ? 2 : MAGNITUDE(bias, max_code) > 16 ? 4 : 8)
#define MAGNITUDE(bias, max_code) ((bias) > (max_code) - (bias) ? (bias) : (max_code) - (bias))

#define FORMAT(name, id, block, bytes, group, bias, max_code) \
    _Static_assert(DEPTH_OF(bias, max_code) * 2 * MAGNITUDE(bias, max_code) * 127 <= INT16_MAX, #name " overflows 16 bits"); \
    _Static_assert(DEPTH_OF(bias, max_code) == BYTES || 2 * max_code * 127 <= INT16_MAX, #name " saturates"); \
    _Static_assert(DEPTH_OF(bias, max_code) != BYTES || bias == 127 || bias == 128, #name " has another bias");
#include "formats/formats.def"
#undef FORMAT

typedef float results[PANEL_ROWS][TILES * LANES];

/* Memory for a part of a tile. */
struct prepared {
    __m256i start[PART / 8], magnitude[PART / 4], flip[PART / 4];
};

/* Past the last row it again. */
static inline int64_t row_of(const struct panel *w, int r)
{
    return r < w->n_rows ? r : w->n_rows - 1;
}

/* Rows r .. r + ROWS - 1, their n weights from k0 on. */
FORCE_INLINE void find_rows(const struct panel *w, int r, int64_t k0, int n, struct kind kind, struct rows *rows)
{
    for (int i = 0; i < ROWS; i++) {
        const int64_t row = row_of(w, r + i);
        rows->code[i] = w->code + row * w->k + k0;
        rows->scale[i] = w->scale + (row * w->k + k0) / kind.group;
        rows->factor[i] = w->factor + (row * w->k + k0) / 256;
        for (int g = 0; g < n / kind.group && kind.has_factor && kind.depth != BYTES; g += 8) {
            __m256i scales = _mm256_cvtps_epi32(_mm256_loadu_ps(rows->scale[i] + g));
            scales = _mm256_blend_epi16(scales, _mm256_slli_epi32(scales, 16), 0xaa);
            _mm256_storeu_si256((void *)(rows->scale_pairs[i] + g), scales);
        }
    }
}

/* Sums start at -bias times the activations, which takes the bias out of all codes. */
static void prepare_starts(const __m256i *q, int n, int depth, int bias, __m256i *start)
{
    for (int c = 0; c < n / 4 / depth; c++) {
        __m256i sum = _mm256_setzero_si256();
        for (int j = 0; j < depth; j++)
            sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(_mm256_set1_epi8(1), q[c * depth + j]));
        start[c] = _mm256_mullo_epi16(sum, _mm256_set1_epi16((short)-bias));
    }
}

/* Signed bytes w = code - 128 times q as |q| times w or -w, which vpmaddubsw can do. A flipped w is one less than -w: sums start
 * at what that makes, and at what the bias is short of 128. sums: of 16 activations. */
static void prepare_bytes(const __m256i *q, const __m256i *sums, int n, int bias, struct prepared *out)
{
    const __m256i sign = _mm256_set1_epi8((char)0x80);
    for (int b = 0; b < n / 32; b++) {
        __m256i negative = _mm256_setzero_si256(), sum = _mm256_add_epi32(sums[2 * b], sums[2 * b + 1]);
        for (int j = 8 * b; j < 8 * b + 8; j++) {
            __m256i below = _mm256_cmpgt_epi8(_mm256_setzero_si256(), q[j]);
            __m256i magnitude = _mm256_abs_epi8(q[j]), of_negative = _mm256_and_si256(magnitude, below);
            out->magnitude[j] = magnitude, out->flip[j] = _mm256_xor_si256(below, sign);
            negative = _mm256_add_epi16(negative, _mm256_maddubs_epi16(of_negative, _mm256_set1_epi8(1)));
        }
        negative = _mm256_madd_epi16(negative, _mm256_set1_epi16(1));
        out->start[b] = _mm256_add_epi32(negative, _mm256_mullo_epi32(sum, _mm256_set1_epi32(128 - bias)));
    }
}

FORCE_INLINE struct part prepare(const struct q8_tile *x, int64_t k0, int n, int bias, struct kind kind, struct prepared *memory)
{
    const __m256i *q = (const void *)(x->q + k0 * LANES), *sums = (const void *)(x->sum + k0 / 16 * LANES);
    if (kind.depth == BYTES)
        prepare_bytes(q, sums, n, bias, memory);
    else if (kind.has_bias)
        prepare_starts(q, n, kind.depth, bias, memory->start);
    return (struct part){kind.depth == BYTES ? memory->magnitude : q, memory->flip, memory->start, x->scale + k0 / 32 * LANES};
}

/* The mins of ROWS rows times n groups' sums, added to the chains, or the first of them. */
FORCE_INLINE void add_mins(const float *const min[ROWS], const __m256 (*x_sum)[TILES], int n_tiles, int n, int first,
                           __m256 chains[MIN_CHAINS][BLOCK])
{
    for (int c = 0; c < MIN_CHAINS; c++) {
        __m256 m[BLOCK];
        for (int i = 0; i < ROWS * n_tiles; i++)
            m[i] = first ? _mm256_setzero_ps() : chains[c][i];
        for (int g = c; g < n; g += MIN_CHAINS)
            #pragma GCC unroll 4
            for (int i = 0; i < ROWS; i++)
                #pragma GCC unroll 2
                for (int t = 0; t < n_tiles; t++)
                    m[i * n_tiles + t] = _mm256_fmadd_ps(_mm256_broadcast_ss(min[i] + g), x_sum[g][t], m[i * n_tiles + t]);
        for (int i = 0; i < ROWS * n_tiles; i++)
            chains[c][i] = m[i];
    }
}

/* Sums of groups of activations as floats. */
FORCE_INLINE void sum_groups(const struct q8_tile *x, int n_tiles, int64_t k0, int n, int group, __m256 (*out)[TILES])
{
    for (int t = 0; t < n_tiles; t++) {
        const __m256i *sums = (const void *)(x[t].sum + k0 / 16 * LANES);
        const float *scale = x[t].scale + k0 / 32 * LANES;
        for (int g = 0; g < n / group; g++) {
            __m256i sum = group == 16 ? sums[g] : _mm256_add_epi32(sums[2 * g], sums[2 * g + 1]);
            out[g][t] = _mm256_mul_ps(_mm256_load_ps(scale + g * group / 32 * LANES), _mm256_cvtepi32_ps(sum));
        }
    }
}

/* Takes the mins off all sums. */
FORCE_INLINE void subtract_mins(const struct panel *w, const struct q8_tile *x, int n_tiles, int group, results out)
{
    __m256 x_sum[MIN_PART / 16][TILES], chains[PANEL_ROWS / ROWS][MIN_CHAINS][BLOCK];
    for (int64_t k0 = 0; k0 < w->k; k0 += MIN_PART) {
        const int n = (int)(w->k - k0 < MIN_PART ? w->k - k0 : MIN_PART);
        sum_groups(x, n_tiles, k0, n, group, x_sum);
        for (int r = 0; r < w->n_rows; r += ROWS) {
            const float *min[ROWS];
            for (int i = 0; i < ROWS; i++)
                min[i] = w->min + (row_of(w, r + i) * w->k + k0) / group;
            add_mins(min, x_sum, n_tiles, n / group, k0 == 0, chains[r / ROWS]);
        }
    }
    for (int r = 0; r < w->n_rows; r += ROWS)
        for (int i = 0; i < ROWS * n_tiles; i++) {
            float *sum = out[r + i / n_tiles] + i % n_tiles * LANES;
            _mm256_store_ps(sum, _mm256_sub_ps(_mm256_load_ps(sum), SUM_OF_MINS(chains[r / ROWS], [i])));
        }
}

/* While all rows meet a part of the activations, the next part comes from the last cache, a share of it with each rows. */
static inline void prefetch_share(const int8_t *next, int r)
{
    for (int i = r * (PART * LANES / PANEL_ROWS); i < (r + ROWS) * (PART * LANES / PANEL_ROWS); i += 64)
        _mm_prefetch((const char *)next + i, _MM_HINT_T0);
}

FORCE_INLINE void multiply_tiles(const struct panel *w, const struct q8_tile *x, int n_tiles, struct kind kind, results out)
{
    struct prepared memory[TILES];
    for (int64_t k0 = 0; k0 < w->k; k0 += PART) {
        const int n = (int)(w->k - k0 < PART ? w->k - k0 : PART);
        struct part part[TILES];
        for (int t = 0; t < n_tiles; t++)
            part[t] = prepare(x + t, k0, n, w->bias, kind, memory + t);
        for (int r = 0; r < w->n_rows; r += ROWS) {
            struct rows rows;
            for (int t = 0; t < n_tiles; t++)
                prefetch_share(x[t].q + (k0 + n) * LANES, r);
            find_rows(w, r, k0, n, kind, &rows);
            multiply_part(&rows, part, n_tiles, n, kind, out + r);
        }
    }
    if (!kind.has_bias)
        subtract_mins(w, x, n_tiles, kind.group, out);
}

FORCE_INLINE void one_or_two_tiles(const struct panel *w, const struct q8_tile *x, int n_tokens, struct kind kind, float *out,
                                   int64_t out_stride)
{
    _Alignas(32) results block = {0};
    const int64_t at = LANES * w->k;
    struct q8_tile tiles[TILES] = {*x, {x->q + at, x->scale + at / 32, x->sum + at / 16}};
    if (n_tokens > LANES)
        multiply_tiles(w, tiles, 2, kind, block);
    else
        multiply_tiles(w, tiles, 1, kind, block);
    store_transposed(block[0], TILES * LANES, w->n_rows, n_tokens, out, out_stride);
}

/* A copy of the loop for each case that there is, so that its facts are constants in it. */
static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
#define KEY(group, depth, has_factor, has_bias) ((group) * 100 + (depth) * 4 + ((has_factor) != 0) * 2 + ((has_bias) != 0))
#define CASE(...) \
    case KEY(__VA_ARGS__): one_or_two_tiles(w, x, n_tokens, (struct kind){__VA_ARGS__}, out, out_stride); break;
    const int depth = DEPTH_OF(w->bias, w->max_code);
    switch (KEY(w->group, depth > w->group / 4 ? w->group / 4 : depth, w->has_factor, !w->has_min)) {
    CASE(32, 8, 0, 0) CASE(32, 8, 0, 1) CASE(32, 8, 1, 0) CASE(32, 8, 1, 1)
    CASE(32, 4, 0, 0) CASE(32, 4, 1, 0) CASE(32, 2, 1, 1) CASE(32, BYTES, 0, 1) CASE(32, BYTES, 1, 1)
    CASE(16, 4, 1, 0) CASE(16, 4, 1, 1) CASE(16, 2, 1, 1)
    }
#undef CASE
#undef KEY
}

void fill_avx2_gemm(struct kernels *table)
{
    table->gemm = gemm;
    table->gemm_tiles = TILES;
    memset(table->fold, 0, sizeof table->fold);                /* vpmaddwd by scales costs no more than by ones */
}
