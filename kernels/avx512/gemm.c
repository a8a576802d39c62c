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
        for (int i = 0; i < 8; i++)
            v[i] = half ? _mm512_extracti64x4_epi64(_mm512_castps_si512(acc[i]), 1) : _mm512_castsi512_si256(_mm512_castps_si512(acc[i]));
        transpose_8x8(v);
        #pragma GCC unroll 8
        for (int t = 0; t < 8; t++)
            if (8 * half + t < n_tokens)
                _mm256_storeu_si256((void *)(out + (8 * half + t) * out_stride), v[t]);
    }
}

/* Rows r .. r + n_rows - 1 of a panel times a tile; n_rows is ROWS or 1. The integer sums start at -bias * sum of x, which takes
 * the bias out of all codes for free. */
PIECE void some_rows(const struct panel *w, int r, int n_rows, const struct q8_tile *x, int n_tokens, int group, float *out,
                     int64_t out_stride)
{
    const int64_t k = w->k, n_groups = k / group;
    const uint8_t *code = w->code + r * k;
    const float *scale = w->scale + r * n_groups, *min = w->min + r * n_groups;
    const __m512i minus_bias = _mm512_set1_epi32(-w->bias);
    __m512 acc[ROWS];
    for (int i = 0; i < n_rows; i++)
        acc[i] = _mm512_setzero_ps();
    for (int64_t g = 0; g < n_groups; g++) {
        __m512i sum = _mm512_load_si512(x->sum + g * group / 16 * LANES);
        if (group == 32)
            sum = _mm512_add_epi32(sum, _mm512_load_si512(x->sum + (2 * g + 1) * LANES));
        __m512 x_scale = _mm512_load_ps(x->scale + g * group / 32 * LANES);
        __m512i product[ROWS], start = _mm512_mullo_epi32(sum, minus_bias);
        for (int i = 0; i < n_rows; i++)
            product[i] = start;
        #pragma GCC unroll 8
        for (int j = 0; j < group / 4; j++) {
            __m512i q = _mm512_load_si512(x->q + (g * group / 4 + j) * LANES * 4);
            #pragma GCC unroll 8
            for (int i = 0; i < n_rows; i++)
                product[i] = _mm512_dpbusd_epi32(product[i], broadcast_4(code + i * k + g * group + 4 * j), q);
        }
        #pragma GCC unroll 8
        for (int i = 0; i < n_rows; i++)
            acc[i] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(product[i]), x_scale), _mm512_set1_ps(scale[i * n_groups + g]), acc[i]);
        if (w->has_min) {
            __m512 x_sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), x_scale);
            #pragma GCC unroll 8
            for (int i = 0; i < n_rows; i++)
                acc[i] = _mm512_fnmadd_ps(_mm512_set1_ps(min[i * n_groups + g]), x_sum, acc[i]);
        }
    }
    store_tile(acc, n_rows, n_tokens, out + r, out_stride);
}

PIECE void all_rows(const struct panel *w, const struct q8_tile *x, int n_tokens, int group, float *out, int64_t out_stride)
{
    int r = 0;
    for (; r + ROWS <= w->n_rows; r += ROWS)
        some_rows(w, r, ROWS, x, n_tokens, group, out, out_stride);
    for (; r < w->n_rows; r++)
        some_rows(w, r, 1, x, n_tokens, group, out, out_stride);
}

static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
    if (w->group == 16)
        all_rows(w, x, n_tokens, 16, out, out_stride);
    else
        all_rows(w, x, n_tokens, 32, out, out_stride);
}

void fill_avx512_gemm(struct kernels *table)
{
    table->gemm = gemm;
}
