/* AVX-512 with VBMI, BITALG and GFNI: fused dot and unpack of the code book formats. */
#include "cpu/avx512/dot_template.h"
#include "decode.h"

enum { PART = 8192 };   /* as many activations of a token are brought in order at a time: they stay in the near caches */

typedef void decode_fn(const uint8_t *b, const uint8_t *next, struct decoded *d);
typedef __m512i weights_fn(const struct decoded *d, int v);

FORCE_INLINE int is_IQ1(enum format f) { return f == FORMAT_IQ1_S || f == FORMAT_IQ1_M; }
FORCE_INLINE int blocks_at_once(enum format f) { return f == FORMAT_IQ3_XXS || f == FORMAT_IQ3_S ? 1 : 2; }

/* Sums over 4 neighbours of vectors v .. v + n - 1 times q. Signs go to q, since weights have to be unsigned. */
FORCE_INLINE __m512 product(enum format f, weights_fn weights, const struct decoded *d, int v, int n, const int8_t *q)
{
    __m512i zero = _mm512_setzero_si512(), sum = zero, too_much = zero;
    #pragma GCC unroll 4
    for (int i = 0; i < n; i++) {
        __m512i x = _mm512_load_si512(q + 64 * i);
        if (is_IQ1(f))
            too_much = _mm512_dpbusd_epi32(too_much, excess(d, v + i), x);
        else
            x = _mm512_mask_sub_epi8(x, minus(d, v + i), zero, x);
        sum = _mm512_dpbusd_epi32(sum, weights(d, v + i), x);
    }
    return _mm512_cvtepi32_ps(is_IQ1(f) ? _mm512_sub_epi32(sum, too_much) : sum);
}

/* A decoded block, from vector v on, times x, added to the sums. Two lanes share a scale. */
FORCE_INLINE void add_block(enum format f, weights_fn weights, const struct decoded *d, int v, const float *scale, struct q8_row x,
                     __m512 sums[2])
{
    __m512i pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    if (format_info[f].group == 32) {
        __m256 scales = _mm256_mul_ps(_mm256_loadu_ps(scale), _mm256_loadu_ps(x.scale));
        __m512 lane_scales = _mm512_permutexvar_ps(pairs, _mm512_castps256_ps512(scales));
        sums[0] = _mm512_fmadd_ps(product(f, weights, d, v, 4, x.q), lane_scales, sums[0]);
        return;
    }
    #pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        __m256 scales = _mm256_mul_ps(_mm256_loadu_ps(scale + 8 * half), group_scales(x.scale, 16, half));
        __m512 lane_scales = _mm512_permutexvar_ps(pairs, _mm512_castps256_ps512(scales));
        sums[half] = _mm512_fmadd_ps(product(f, weights, d, v + 2 * half, 2, x.q + 128 * half), lane_scales, sums[half]);
    }
}

/* A row times n_tokens rows of activations. Its last block may be decoded alone: it then stands for two. */
FORCE_INLINE void dot_row(enum format f, decode_fn decode, weights_fn weights, scales_fn scales, const uint8_t *p, int64_t n_blocks,
                   const struct q8_row *x, int n_tokens, float out[MOST_TOKENS])
{
    const int at_once = blocks_at_once(f), bytes = format_info[f].bytes;
    __m512 sums[MOST_TOKENS][4] = {0};
    for (int64_t i = 0; i < n_blocks; i += at_once, p += at_once * bytes) {
        struct decoded d;
        float scale[2][16];
        int n = n_blocks - i < at_once ? 1 : at_once;
        fetch_ahead(p, at_once * bytes);
        decode(p, p + (n - 1) * bytes, &d);
        scales(p, 1, bytes, scale[0], NULL);
        if (n == 2)
            scales(p + bytes, 1, bytes, scale[1], NULL);
        #pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) {
            add_block(f, weights, &d, 0, scale[0], at(x[t], 256 * i), sums[t]);
            if (n == 2)
                add_block(f, weights, &d, 4, scale[1], at(x[t], 256 * (i + 1)), sums[t] + 2);
        }
    }
    for (int t = 0; t < n_tokens; t++)
        out[t] = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[t][0], sums[t][1]), _mm512_add_ps(sums[t][2], sums[t][3])));
}

/* n_tokens is a constant, at most MOST_TOKENS. */
FORCE_INLINE void dot_rows_by_parts(enum format f, decode_fn decode, weights_fn weights, scales_fn scales, const uint8_t *rows,
                             int n_rows, int64_t k, const struct q8_row *x, int n_tokens, float *out, int64_t out_stride)
{
    _Alignas(64) int8_t q[MOST_TOKENS][PART];
    for (int64_t first = 0; first < k; first += PART) {
        int64_t n = k - first < PART ? k - first : PART;
        struct q8_row part[MOST_TOKENS];
        for (int t = 0; t < n_tokens; t++) {
            for (int64_t i = 0; i < n; i += 256)
                from_file_order(x[t].q + first + i, format_info[f].group, q[t] + i);
            part[t] = (struct q8_row){q[t], x[t].scale + first / 32, NULL};
        }
        for (int r = 0; r < n_rows; r++) {
            const uint8_t *p = rows + r * row_bytes(f, k) + row_bytes(f, first);
            float sum[MOST_TOKENS];
            dot_row(f, decode, weights, scales, p, n / 256, part, n_tokens, sum);
            for (int t = 0; t < n_tokens; t++)
                out[t * out_stride + r] = first == 0 ? sum[t] : out[t * out_stride + r] + sum[t];
        }
    }
}

FORCE_INLINE __m512i codes64(enum format f, weights_fn weights, const struct decoded *d, int v)
{
    __m512i bias = _mm512_set1_epi8((char)format_info[f].bias), w = weights(d, v);
    if (is_IQ1(f))
        return _mm512_add_epi8(w, _mm512_sub_epi8(bias, excess(d, v)));
    return _mm512_mask_sub_epi8(_mm512_add_epi8(bias, w), minus(d, v), bias, w);
}

FORCE_INLINE void unpack_by_book(enum format f, decode_fn decode, weights_fn weights, scales_fn scales, const uint8_t *p, int64_t k,
                          uint8_t *code, float *scale)
{
    const int at_once = blocks_at_once(f), bytes = format_info[f].bytes, group = format_info[f].group;
    for (int64_t i = 0; i < k / 256; i += at_once, p += at_once * bytes) {
        struct decoded d;
        int n = k / 256 - i < at_once ? 1 : at_once;
        decode(p, p + (n - 1) * bytes, &d);
        to_file_order(&d, group, at_once == 1 ? 4 : 8);
        for (int j = 0; j < n; j++)
            scales(p + j * bytes, 1, bytes, scale + (i + j) * (256 / group), NULL);
        #pragma GCC unroll 8
        for (int v = 0; v < 4 * at_once; v++)
            if (v < 4 * n)
                _mm512_storeu_si512(code + i * 256 + 64 * v, codes64(f, weights, &d, v));
    }
}

#define DOT_BOOK(name, n) \
    dot_rows_by_parts(FORMAT_##name, decode_##name, WEIGHTS_##name, scales_##name, rows, n_rows, k, tokens, n, out, out_stride)
#define DEFINE(name) \
    DEFINE_DOT_OF(name, DOT_BOOK) \
    static void unpack_##name(const uint8_t *row, int64_t k, uint8_t *code, float *scale, float *min) \
    { \
        (void)min; \
        unpack_by_book(FORMAT_##name, decode_##name, WEIGHTS_##name, scales_##name, row, k, code, scale); \
    }

#define WEIGHTS_IQ1_S weights_IQ1
#define WEIGHTS_IQ1_M weights_IQ1
#define WEIGHTS_IQ2_XXS weights_IQ2
#define WEIGHTS_IQ2_XS weights_IQ2
#define WEIGHTS_IQ2_S weights_IQ2
#define WEIGHTS_IQ3_XXS weights_IQ3_XXS
#define WEIGHTS_IQ3_S weights_IQ3_S

#define FORMATS_WITH_BOOKS(F) F(IQ1_S) F(IQ1_M) F(IQ2_XXS) F(IQ2_XS) F(IQ2_S) F(IQ3_XXS) F(IQ3_S)

FORMATS_WITH_BOOKS(DEFINE)

void fill_avx512vbmi(struct kernels *table)
{
    FORMATS_WITH_BOOKS(SET_DOT)
    FORMATS_WITH_BOOKS(SET_UNPACK)
}
