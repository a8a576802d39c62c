/* AVX-512 with VBMI, BITALG and GFNI: fused dot and unpack of the code book formats. */
#include "../avx512/dot.h"
#include "pieces.h"

typedef void decode_fn(const uint8_t *b, const uint8_t *next, struct decoded *d);
typedef __m512i vector_fn(const struct decoded *d, int i);

PIECE int is_IQ1(enum format f) { return f == FORMAT_IQ1_S || f == FORMAT_IQ1_M; }
PIECE int is_IQ3(enum format f) { return f == FORMAT_IQ3_XXS || f == FORMAT_IQ3_S; }

/* Weights of vector i times q, summed over 4 neighbours. Signs go to q, since weights have to be unsigned. */
PIECE __m512i product(enum format f, vector_fn magnitudes, const struct decoded *d, int i, __m512i q)
{
    __m512i zero = _mm512_setzero_si512();
    if (is_IQ1(f)) {
        __m512i start = _mm512_sub_epi32(zero, _mm512_dpbusd_epi32(zero, subtracted(d, i), q));
        return _mm512_dpbusd_epi32(start, magnitudes(d, i), q);
    }
    return _mm512_dpbusd_epi32(zero, magnitudes(d, i), _mm512_mask_sub_epi8(q, minus(d, i), zero, q));
}

PIECE __m512i codes64(enum format f, vector_fn magnitudes, const struct decoded *d, int i)
{
    __m512i bias = _mm512_set1_epi8((char)format_info[f].bias), w = magnitudes(d, i);
    if (is_IQ1(f))
        return _mm512_add_epi8(w, _mm512_sub_epi8(bias, subtracted(d, i)));
    return _mm512_mask_sub_epi8(_mm512_add_epi8(bias, w), minus(d, i), bias, w);
}

/* The blocks of a row in portions of as many as are decoded at once; at the end of a row the only one may stand for two. */
PIECE void dot_row(enum format f, decode_fn decode, vector_fn magnitudes, scales_fn scales, const uint8_t *p, int64_t n_blocks,
                   struct q8_row x, __m512 sums[4])
{
    const int at_once = is_IQ3(f) ? 1 : 2, bytes = format_info[f].bytes;
    for (int64_t i = 0; i < n_blocks; i += at_once, p += at_once * bytes) {
        struct decoded d;
        int n = n_blocks - i < at_once ? 1 : at_once;
        fetch_ahead(p, at_once * bytes);
        decode(p, p + (n - 1) * bytes, &d);
        #pragma GCC unroll 2
        for (int j = 0; j < at_once; j++) {
            if (j == n)
                break;
            __m512i products[4];
            struct q8_row part = at(x, (i + j) * 256);
            #pragma GCC unroll 4
            for (int v = 0; v < 4; v++)
                products[v] = product(f, magnitudes, &d, 4 * j + v, _mm512_loadu_si512(part.q + 64 * v));
            add_products(f, scales, p + j * bytes, part, products, sums);
        }
    }
}

PIECE void dot_book_rows(enum format f, decode_fn decode, vector_fn magnitudes, scales_fn scales, const uint8_t *rows, int n_rows,
                         int64_t k, struct q8_row x, float *out)
{
    for (int r = 0; r < n_rows; r++) {
        __m512 sums[4] = {0};
        dot_row(f, decode, magnitudes, scales, rows + r * row_bytes(f, k), k / 256, x, sums);
        out[r] = sum_all(sums, _mm256_setzero_ps());
    }
}

PIECE void unpack_book_row(enum format f, decode_fn decode, vector_fn magnitudes, scales_fn scales, const uint8_t *row, int64_t k,
                           uint8_t *code, float *scale)
{
    const int at_once = is_IQ3(f) ? 1 : 2, bytes = format_info[f].bytes, n_groups = 256 / format_info[f].group;
    for (int64_t i = 0; i < k / 256; i += at_once) {
        struct decoded d;
        int n = k / 256 - i < at_once ? 1 : at_once;
        decode(row + i * bytes, row + (i + n - 1) * bytes, &d);
        #pragma GCC unroll 2
        for (int j = 0; j < at_once; j++) {
            if (j == n)
                break;
            scales(row + (i + j) * bytes, 1, bytes, scale + (i + j) * n_groups, NULL);
            #pragma GCC unroll 4
            for (int v = 0; v < 4; v++)
                _mm512_storeu_si512(code + (i + j) * 256 + 64 * v, codes64(f, magnitudes, &d, 4 * j + v));
        }
    }
}

#define DEFINE(name, magnitudes) \
    static void dot_##name(const uint8_t *rows, int n_rows, int64_t k, struct q8_row x, float *out) \
    { \
        dot_book_rows(FORMAT_##name, decode_##name, magnitudes, scales_##name, rows, n_rows, k, x, out); \
    } \
    static void unpack_##name(const uint8_t *row, int64_t k, uint8_t *code, float *scale, float *min) \
    { \
        (void)min; \
        unpack_book_row(FORMAT_##name, decode_##name, magnitudes, scales_##name, row, k, code, scale); \
    }

DEFINE(IQ1_S, magnitudes_IQ1)
DEFINE(IQ1_M, magnitudes_IQ1)
DEFINE(IQ2_XXS, magnitudes_IQ2)
DEFINE(IQ2_XS, magnitudes_IQ2)
DEFINE(IQ2_S, magnitudes_IQ2)
DEFINE(IQ3_XXS, magnitudes_IQ3_XXS)
DEFINE(IQ3_S, magnitudes_IQ3_S)

void fill_avx512vbmi(struct kernels *table)
{
    FORMATS_WITH_BOOKS(SET_DOT)
    FORMATS_WITH_BOOKS(SET_UNPACK)
}
