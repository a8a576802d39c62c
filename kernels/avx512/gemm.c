/* Many tokens with AVX-512 VNNI: 16 tokens in the lanes, 8 rows at a time, the weights broadcast four codes at a time. */
#include "int8.h"
#include "../avx2/transpose.h"

#define PIECE static inline __attribute__((always_inline))

enum { LANES = 16, ROWS = 8 };

PIECE __m512i broadcast_4(const uint8_t *codes)
{
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    return _mm512_set1_epi32(four);
}

/* Rows become neighbours: out[t * out_stride + i] = acc[i], lane t. */
PIECE void store_tile(const __m512 acc[ROWS], int n_rows, int n_tokens, float *out, int64_t out_stride)
{
    if (n_rows == 1) {
        float lanes[LANES];
        _mm512_storeu_ps(lanes, acc[0]);
        for (int t = 0; t < n_tokens; t++)
            out[t * out_stride] = lanes[t];
        return;
    }
    for (int half = 0; half < 2; half++) {
        __m256i v[8];
        for (int i = 0; i < 8; i++) {
            __m512i lanes = _mm512_castps_si512(acc[i]);
            v[i] = half ? _mm512_extracti64x4_epi64(lanes, 1) : _mm512_castsi512_si256(lanes);
        }
        transpose_8x8(v);
        #pragma GCC unroll 8
        for (int t = 0; t < 8; t++)
            if (8 * half + t < n_tokens)
                _mm256_storeu_si256((void *)(out + (8 * half + t) * out_stride), v[t]);
    }
}

/* Rows in work: code [k], scale and min [k / group] of the first. */
struct rows {
    const uint8_t *code;
    const float *scale, *min;
    int64_t k, n_groups;
    __m512i minus_bias;
};

/* product[i] = the codes of row i, less the bias, times x over n * 4 positions from k0 on. The integer sums start at -bias * sum of
 * x, which takes the bias out of all codes for free. */
PIECE void multiply(const struct rows *w, int n_rows, int64_t k0, int n, const struct q8_tile *x, __m512i sum,
                    __m512i product[ROWS])
{
    __m512i start = _mm512_mullo_epi32(sum, w->minus_bias);
    for (int i = 0; i < n_rows; i++)
        product[i] = start;
    #pragma GCC unroll 8
    for (int j = 0; j < n; j++) {
        __m512i q = _mm512_load_si512(x->q + (k0 / 4 + j) * LANES * 4);
        #pragma GCC unroll 8
        for (int i = 0; i < n_rows; i++)
            product[i] = _mm512_dpbusd_epi32(product[i], broadcast_4(w->code + i * w->k + k0 + 4 * j), q);
    }
}

/* The b-th 32 weights of each row, which share a scale. */
PIECE void add_32(const struct rows *w, int n_rows, int64_t b, const struct q8_tile *x, int has_min, __m512 acc[ROWS])
{
    const int32_t *sums = x->sum + 2 * b * LANES;
    __m512i product[ROWS], sum = _mm512_add_epi32(_mm512_load_si512(sums), _mm512_load_si512(sums + LANES));
    __m512 x_scale = _mm512_load_ps(x->scale + b * LANES), x_sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), x_scale);
    multiply(w, n_rows, 32 * b, 8, x, sum, product);
    #pragma GCC unroll 8
    for (int i = 0; i < n_rows; i++) {
        __m512 p = _mm512_mul_ps(_mm512_cvtepi32_ps(product[i]), x_scale);
        acc[i] = _mm512_fmadd_ps(p, _mm512_set1_ps(w->scale[i * w->n_groups + b]), acc[i]);
        if (has_min)
            acc[i] = _mm512_fnmadd_ps(_mm512_set1_ps(w->min[i * w->n_groups + b]), x_sum, acc[i]);
    }
}

/* The same where halves of them have scales of their own: these go first, then the two meet the scale of x together. */
PIECE void add_2x16(const struct rows *w, int n_rows, int64_t b, const struct q8_tile *x, int has_min, __m512 acc[ROWS])
{
    __m512 x_scale = _mm512_load_ps(x->scale + b * LANES), both[ROWS];
    #pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const int64_t g = 2 * b + h;
        __m512i product[ROWS], sum = _mm512_load_si512(x->sum + g * LANES);
        multiply(w, n_rows, 16 * g, 4, x, sum, product);
        #pragma GCC unroll 8
        for (int i = 0; i < n_rows; i++) {
            __m512 p = _mm512_cvtepi32_ps(product[i]), s = _mm512_set1_ps(w->scale[i * w->n_groups + g]);
            both[i] = h == 0 ? _mm512_mul_ps(p, s) : _mm512_fmadd_ps(p, s, both[i]);
            if (has_min)
                both[i] = _mm512_fnmadd_ps(_mm512_set1_ps(w->min[i * w->n_groups + g]), _mm512_cvtepi32_ps(sum), both[i]);
        }
    }
    #pragma GCC unroll 8
    for (int i = 0; i < n_rows; i++)
        acc[i] = _mm512_fmadd_ps(both[i], x_scale, acc[i]);
}

/* Rows r .. r + n_rows - 1 of a panel times a tile; n_rows is ROWS or 1. */
PIECE void some_rows(const struct panel *w, int r, int n_rows, const struct q8_tile *x, int n_tokens, int group, int has_min,
                     float *out, int64_t out_stride)
{
    const int64_t n_groups = w->k / group, g = r * n_groups;
    const struct rows rows = {w->code + r * w->k, w->scale + g, w->min + g, w->k, n_groups, _mm512_set1_epi32(-w->bias)};
    __m512 acc[ROWS];
    for (int i = 0; i < n_rows; i++)
        acc[i] = _mm512_setzero_ps();
    for (int64_t b = 0; b < w->k / 32; b++)
        if (group == 32)
            add_32(&rows, n_rows, b, x, has_min, acc);
        else
            add_2x16(&rows, n_rows, b, x, has_min, acc);
    store_tile(acc, n_rows, n_tokens, out + r, out_stride);
}

PIECE void all_rows(const struct panel *w, const struct q8_tile *x, int n_tokens, int group, int has_min, float *out,
                    int64_t out_stride)
{
    int r = 0;
    for (; r + ROWS <= w->n_rows; r += ROWS)
        some_rows(w, r, ROWS, x, n_tokens, group, has_min, out, out_stride);
    for (; r < w->n_rows; r++)
        some_rows(w, r, 1, x, n_tokens, group, has_min, out, out_stride);
}

/* A copy of the loops for each case, so that group and has_min are constants in it. */
static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
    switch (w->group + (w->has_min != 0)) {
    case 16: all_rows(w, x, n_tokens, 16, 0, out, out_stride); break;
    case 17: all_rows(w, x, n_tokens, 16, 1, out, out_stride); break;
    case 32: all_rows(w, x, n_tokens, 32, 0, out, out_stride); break;
    case 33: all_rows(w, x, n_tokens, 32, 1, out, out_stride); break;
    }
}

void fill_avx512_gemm(struct kernels *table)
{
    table->gemm = gemm;
}
