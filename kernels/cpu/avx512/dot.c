/* One token or few with VNNI, 64 weights at a time. What a row has beyond a multiple of 256 goes as with AVX2. */
#include "dot_template.h"
#include "cpu/kernel_table.h"
#include "decode.h"

typedef __m512i codes64_fn(const uint8_t *blocks, int i);

/* Sums of 16 products, number 4 i + j from quarter j of vector i. */
FORCE_INLINE __m512i sums_of_16(const __m512i fours[4])
{
    __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(fours[0], fours[1]), _mm512_unpackhi_epi32(fours[0], fours[1]));
    __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(fours[2], fours[3]), _mm512_unpackhi_epi32(fours[2], fours[3]));
    __m512i sums = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), sums);
}

/* Pairs of lanes added. */
FORCE_INLINE __m512i add_neighbours(__m512i v) { return _mm512_add_epi32(v, _mm512_shuffle_epi32(v, 0xb1)); }
FORCE_INLINE __m256i even_lanes(__m512i v) { return _mm512_cvtepi64_epi32(v); }

/* From sums of codes times x to p of order.h. Sixteen scales were just stored in eights, and a wider load would have to wait for
 * those stores. */
FORCE_INLINE __m256 scale_wide(enum format f, __m512i sums, const float *scale, const int16_t *x_sum)
{
    const int bias = format_info[f].bias;
    if (format_info[f].group == 32) {
        __m256i sum = even_lanes(add_neighbours(sums));
        if (bias)
            sum = _mm256_sub_epi32(sum, _mm256_madd_epi16(load32(x_sum), _mm256_set1_epi16((short)bias)));
        return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scale));
    }
    if (bias)
        sums = _mm512_sub_epi32(sums, _mm512_madd_epi16(_mm512_cvtepu16_epi32(load32(x_sum)), _mm512_set1_epi16((short)bias)));
    __m512 scales = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(scale)), _mm256_loadu_ps(scale + 8), 1);
    __m512 p = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scales);
    p = _mm512_add_ps(p, _mm512_permute_ps(p, 0xb1));
    return _mm256_castsi256_ps(even_lanes(_mm512_castps_si512(p)));
}

/* sums_fn of a format. */
FORCE_INLINE void sums_wide(enum format f, codes64_fn codes, const uint8_t *p, const float *scale, const struct q8_row *x, int n_tokens,
                            __m256 *out)
{
    __m512i four[MOST_TOKENS][4];
    #pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i c = codes(p, i);
        #pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++)
            four[t][i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), c, _mm512_loadu_si512(x[t].q + 64 * i));
    }
    #pragma GCC unroll 4
    for (int t = 0; t < n_tokens; t++)
        out[t] = scale_wide(f, sums_of_16(four[t]), scale, x[t].sum);
}

#define DEFINE_SUMS_64(name) \
    FORCE_INLINE void sums64_##name(const uint8_t *p, const float *scale, const struct q8_row *x, int n_tokens, __m256 *out) \
    { \
        sums_wide(FORMAT_##name, codes64_##name, p, scale, x, n_tokens, out); \
    }
#define DOT_64(name, n) DOT_ROWS(name, first_codes_##name, sums64, n)
#define DEFINE_DOT_64(name) DEFINE_SUMS_64(name) DEFINE_DOT_OF(name, DOT_64)

FORMATS_WITHOUT_BOOKS(DEFINE_DOT_64)
FORMATS_WITH_BOOKS(DEFINE_DOT_BOOK)          /* 32 at a time: little is done to 64 entries at once */

void fill_avx512_dot(struct kernels *table)
{
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, SET_DOT(name))
#include "formats/formats.def"
#undef FORMAT
}
