/* Many tokens with AVX2: 8 tokens in the lanes, 4 rows at a time, the weights broadcast four codes at a time. */
#include <string.h>
#include "cpu/kernel_table.h"
#include "transpose.h"

#define FORCE_INLINE static inline __attribute__((always_inline))

enum { LANES = 8, ROWS = 4, SIGNED = 0 };

FORCE_INLINE __m256i broadcast_4(const uint8_t *codes)
{
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    return _mm256_set1_epi32(four);
}

/* How many results of vpmaddubsw, two products each, an int16 lane can add up; longer chains measured slower than these.
 * SIGNED: not even one; such codes lose their bias first and their sign moves to the activation. */
#define DEPTH_OF(bias) ((bias) > 64 ? SIGNED : (bias) > 32 ? 1 : (bias) > 16 ? 2 : 4)

#define FORMAT(name, id, block, bytes, group, bias, max_code) \
    _Static_assert(DEPTH_OF(bias) * 2 * max_code * 127 <= INT16_MAX, #name " overflows 16 bits");
#include "formats/formats.def"
#undef FORMAT

/* sum plus the products of a row's n * 4 codes with n vectors of activations. */
FORCE_INLINE __m256i products(const uint8_t *code, const __m256i *x, int n, int depth, __m256i bias, __m256i sum)
{
    const int step = depth == SIGNED ? 1 : depth;
    #pragma GCC unroll 8
    for (int i = 0; i < n; i += step) {
        __m256i pairs = _mm256_setzero_si256();
        #pragma GCC unroll 8
        for (int j = i; j < i + step; j++) {
            __m256i w = broadcast_4(code + 4 * j);
            if (depth == SIGNED) {
                w = _mm256_sub_epi8(w, bias);
                pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x[j], w));
            } else {
                pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w, x[j]));
            }
        }
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    return sum;
}

FORCE_INLINE void store_tile(const __m256 acc[ROWS], int n_rows, int n_tokens, float *out, int64_t out_stride)
{
    __m256i v[8];
    for (int r = 0; r < 8; r++)
        v[r] = r < n_rows ? _mm256_castps_si256(acc[r]) : _mm256_setzero_si256();
    transpose_8x8(v);
    #pragma GCC unroll 8
    for (int t = 0; t < LANES; t++)
        if (t < n_tokens) {
            if (n_rows == 1)
                out[t * out_stride] = _mm256_cvtss_f32(_mm256_castsi256_ps(v[t]));
            else
                _mm_storeu_ps(out + t * out_stride, _mm_castsi128_ps(_mm256_castsi256_si128(v[t])));
        }
}

/* Rows in work: code [k], scale and min [k / group] of the first. */
struct rows {
    const uint8_t *code;
    const float *scale, *min;
    int64_t k, n_groups;
    int bias;
};

/* The g-th group of each row, added to the sums. */
FORCE_INLINE void add_group(const struct rows *w, int n_rows, int64_t g, int group, int depth, int has_min,
                     const struct q8_tile *x, __m256 acc[ROWS])
{
    const __m256i *sums = (const void *)(x->sum + g * group / 16 * LANES);
    __m256i q[8], bias = _mm256_set1_epi8((char)w->bias);
    for (int j = 0; j < group / 4; j++)
        q[j] = _mm256_load_si256((const void *)(x->q + (g * group / 4 + j) * LANES * 4));
    __m256i sum = _mm256_load_si256(sums), start = _mm256_setzero_si256();
    if (group == 32)
        sum = _mm256_add_epi32(sum, _mm256_load_si256(sums + 1));
    if (depth != SIGNED)
        start = _mm256_mullo_epi32(sum, _mm256_set1_epi32(-w->bias));
    #pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++) {
        __m256i product = products(w->code + i * w->k + g * group, q, group / 4, depth, bias, start);
        __m256 p = _mm256_mul_ps(_mm256_cvtepi32_ps(product), _mm256_broadcast_ss(w->scale + i * w->n_groups + g));
        if (has_min)
            p = _mm256_fnmadd_ps(_mm256_broadcast_ss(w->min + i * w->n_groups + g), _mm256_cvtepi32_ps(sum), p);
        acc[i] = _mm256_fmadd_ps(p, _mm256_load_ps(x->scale + g * group / 32 * LANES), acc[i]);
    }
}

/* Rows r .. r + n_rows - 1 of a panel times a tile; n_rows is ROWS or 1. */
FORCE_INLINE void some_rows(const struct panel *w, int r, int n_rows, const struct q8_tile *x, int n_tokens, int group, int depth,
                     int has_min, float *out, int64_t out_stride)
{
    const int64_t n_groups = w->k / group, g0 = r * n_groups;
    const struct rows rows = {w->code + r * w->k, w->scale + g0, w->min + g0, w->k, n_groups, w->bias};
    __m256 acc[ROWS];
    for (int i = 0; i < n_rows; i++)
        acc[i] = _mm256_setzero_ps();
    for (int64_t g = 0; g < n_groups; g++)
        add_group(&rows, n_rows, g, group, depth, has_min, x, acc);
    store_tile(acc, n_rows, n_tokens, out + r, out_stride);
}

FORCE_INLINE void all_rows(const struct panel *w, const struct q8_tile *x, int n_tokens, int group, int depth, int has_min,
                    float *out, int64_t out_stride)
{
    int r = 0;
    for (; r + ROWS <= w->n_rows; r += ROWS)
        some_rows(w, r, ROWS, x, n_tokens, group, depth, has_min, out, out_stride);
    for (; r < w->n_rows; r++)
        some_rows(w, r, 1, x, n_tokens, group, depth, has_min, out, out_stride);
}

/* A copy of the loop for each case, so that depth, group and has_min are constants in it. */
static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
#define CASE(d, m) \
    case 2 * d + m: \
        if (w->group == 16) \
            all_rows(w, x, n_tokens, 16, d, m, out, out_stride); \
        else \
            all_rows(w, x, n_tokens, 32, d, m, out, out_stride); \
        break;
    switch (2 * DEPTH_OF(w->bias) + (w->has_min != 0)) {
    CASE(4, 0) CASE(4, 1) CASE(2, 0) CASE(2, 1) CASE(1, 0) CASE(1, 1) CASE(SIGNED, 0) CASE(SIGNED, 1)
    }
#undef CASE
}

void fill_avx2_gemm(struct kernels *table)
{
    table->gemm = gemm;
    table->gemm_tiles = 1;
    memset(table->fold, 0, sizeof table->fold);                /* vpmaddubsw would overflow with folded codes */
}
