/* Code book formats, as decode.h has the others: entries of the books are loaded one by one. blocks.h draws the blocks. */
#ifndef SUBBYTE_AVX2_DECODE_IQ_H
#define SUBBYTE_AVX2_DECODE_IQ_H
#include "formats/codebooks.h"
#include "decode.h"

/* Four entries of 8 weights, eight of 4. */
FORCE_INLINE __m256i four_entries(const uint64_t *grid, int a, int b, int c, int d)
{
    return _mm256_setr_epi64x((int64_t)grid[a], (int64_t)grid[b], (int64_t)grid[c], (int64_t)grid[d]);
}
FORCE_INLINE __m256i eight_entries(const uint32_t *grid, const int index[8])
{
    return _mm256_setr_epi32((int)grid[index[0]], (int)grid[index[1]], (int)grid[index[2]], (int)grid[index[3]],
                             (int)grid[index[4]], (int)grid[index[5]], (int)grid[index[6]], (int)grid[index[7]]);
}

/* bias - magnitude for weight j of 8 where bit j of their sign byte is set, else bias + magnitude. Each of the 8 bytes of
 * sign_bytes holds their sign byte. */
FORCE_INLINE __m256i with_signs(__m256i magnitudes, __m256i sign_bytes, int bias)
{
    __m256i bit_of = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    __m256i minus = _mm256_cmpeq_epi8(_mm256_and_si256(sign_bytes, bit_of), bit_of);           /* -1 where set */
    return _mm256_add_epi8(_mm256_xor_si256(magnitudes, minus), _mm256_sub_epi8(_mm256_set1_epi8((char)bias), minus));
}

/* Each of 4 sign bytes eight times: those of 32 weights. */
FORCE_INLINE __m256i spread(__m256i four_bytes)
{
    __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    return _mm256_shuffle_epi8(four_bytes, byte_of);
}

/* One sign a bit. */
FORCE_INLINE __m256i sign_bits(const uint8_t *p) { return spread(_mm256_set1_epi32((int)load_u32(p))); }

/* Bytes of 7 sign bits for all 256 weights, of which dword i is wanted: the eighth sign makes the number of minuses even. */
FORCE_INLINE __m256i even_sign_bits(__m256i sevens, int i)
{
    __m256i folded = _mm256_and_si256(_mm256_xor_si256(sevens, _mm256_srli_epi16(sevens, 4)), _mm256_set1_epi8(15));
    __m128i odd = _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0);   /* bits in 0..15 */
    __m256i eights = _mm256_or_si256(sevens, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(odd), folded));
    return spread(_mm256_permutevar8x32_epi32(eights, _mm256_set1_epi32(i)));
}

/* The lower 28 bits of dwords to bytes of 7. */
FORCE_INLINE __m256i four_sevens(__m256i dwords)
{
    __m256i first = _mm256_and_si256(dwords, _mm256_set1_epi32(0x7f));
    __m256i second = _mm256_and_si256(_mm256_slli_epi32(dwords, 1), _mm256_set1_epi32(0x7f00));
    __m256i third = _mm256_and_si256(_mm256_slli_epi32(dwords, 2), _mm256_set1_epi32(0x7f0000));
    __m256i fourth = _mm256_and_si256(_mm256_slli_epi32(dwords, 3), _mm256_set1_epi32(0x7f000000));
    return _mm256_or_si256(_mm256_or_si256(first, second), _mm256_or_si256(third, fourth));
}

/* Where instructions that take from two vectors, lane by lane, put dword i of eight. */
FORCE_INLINE int laned(int i) { return (i & 1) | (i & 2) << 1 | (i & 4) >> 1; }

/* 2 s + 1 for eight or sixteen s. */
FORCE_INLINE void odd_scales(__m256i s, float *scale)
{
    _mm256_storeu_ps(scale, _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_slli_epi32(s, 1), _mm256_set1_epi32(1))));
}
FORCE_INLINE void odd_scales_nibbles(const uint8_t *p, int n, float *scale)
{
    __m256i shift = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    for (int i = 0; i < n; i += 8) {
        __m256i eight = _mm256_srlv_epi32(_mm256_set1_epi32((int)load_u32(p + i / 2)), shift);
        odd_scales(_mm256_and_si256(eight, _mm256_set1_epi32(15)), scale + i);
    }
}

FORCE_INLINE __m256i codes_IQ2_XXS(const uint8_t *b, int i)
{
    const uint8_t *q = b + 2 + 8 * i;
    __m256 low = _mm256_castsi256_ps(load32(b + 2)), high = _mm256_castsi256_ps(load32(b + 34));
    __m256i sevens = four_sevens(_mm256_castps_si256(_mm256_shuffle_ps(low, high, 0xdd)));
    return with_signs(four_entries(iq2xxs_grid, q[0], q[1], q[2], q[3]), even_sign_bits(sevens, laned(i)), 43);
}
FORCE_INLINE void scales_IQ2_XXS(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    __m256i low = _mm256_srli_epi64(load32(b + 2), 60), high = _mm256_srli_epi64(load32(b + 34), 60);
    __m256i s = _mm256_or_si256(low, _mm256_slli_epi64(high, 32));                     /* 0 4 1 5 2 6 3 7 */
    odd_scales(_mm256_permutevar8x32_epi32(s, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7)), scale);
}
FORCE_INLINE float factor_IQ2_XXS(const uint8_t *b) { return load_f16(b) * 0.125f; }

FORCE_INLINE __m256i codes_IQ2_XS(const uint8_t *b, int i)
{
    uint64_t q = load_u64(b + 2 + 8 * i);
    __m256i magnitudes = four_entries(iq2xs_grid, q & 511, q >> 16 & 511, q >> 32 & 511, q >> 48 & 511);
    __m256i sevens = _mm256_packus_epi16(_mm256_srli_epi16(load32(b + 2), 9), _mm256_srli_epi16(load32(b + 34), 9));
    return with_signs(magnitudes, even_sign_bits(sevens, laned(i)), 43);
}
FORCE_INLINE void scales_IQ2_XS(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    odd_scales_nibbles(b + 66, 16, scale);
}
FORCE_INLINE float factor_IQ2_XS(const uint8_t *b) { return load_f16(b) * 0.125f; }

FORCE_INLINE __m256i codes_IQ2_S(const uint8_t *b, int i)
{
    const uint8_t *q = b + 2 + 4 * i;
    int high = b[66 + i];
    __m256i magnitudes = four_entries(iq2s_grid, q[0] | (high << 8 & 0x300), q[1] | (high << 6 & 0x300),
                                      q[2] | (high << 4 & 0x300), q[3] | (high << 2 & 0x300));
    return with_signs(magnitudes, sign_bits(b + 34 + 4 * i), 43);
}
FORCE_INLINE void scales_IQ2_S(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    odd_scales_nibbles(b + 74, 16, scale);
}
FORCE_INLINE float factor_IQ2_S(const uint8_t *b) { return load_f16(b) * 0.125f; }

FORCE_INLINE __m256i codes_IQ3_XXS(const uint8_t *b, int i)
{
    int index[8];
    for (int j = 0; j < 8; j++)
        index[j] = b[2 + 8 * i + j];
    return with_signs(eight_entries(iq3xxs_grid, index), even_sign_bits(four_sevens(load32(b + 66)), i), 62);
}
FORCE_INLINE void scales_IQ3_XXS(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    odd_scales(_mm256_srli_epi32(load32(b + 66), 28), scale);
}
FORCE_INLINE float factor_IQ3_XXS(const uint8_t *b) { return load_f16(b) * 0.25f; }

FORCE_INLINE __m256i codes_IQ3_S(const uint8_t *b, int i)
{
    int index[8];
    for (int j = 0; j < 8; j++)
        index[j] = b[2 + 8 * i + j] | (b[66 + i] << (8 - j) & 256);
    return with_signs(eight_entries(iq3s_grid, index), sign_bits(b + 74 + 4 * i), 15);
}
FORCE_INLINE void scales_IQ3_S(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    odd_scales_nibbles(b + 106, 8, scale);
}
FORCE_INLINE float factor_IQ3_S(const uint8_t *b) { return load_f16(b); }

/* IQ1's books hold t of -1, 0 or 1; codes count eighths: 8 (t + 1), and 2 more where 1/8 is added, not taken off. */
FORCE_INLINE __m256i eighths(__m256i t, __m256i two_or_none)
{
    return _mm256_add_epi8(_mm256_slli_epi16(_mm256_add_epi8(t, _mm256_set1_epi8(1)), 3), two_or_none);
}

FORCE_INLINE __m256i codes_IQ1_S(const uint8_t *b, int i)
{
    const uint8_t *q = b + 2 + 4 * i;
    int high = load_u16(b + 34 + 2 * i);
    __m256i t = four_entries(iq1_grid, q[0] | (high << 8 & 0x700), q[1] | (high << 5 & 0x700),
                             q[2] | (high << 2 & 0x700), q[3] | (high >> 1 & 0x700));
    return eighths(t, _mm256_set1_epi8(high >> 15 ? 0 : 2));
}
FORCE_INLINE void scales_IQ1_S(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    __m256i s = _mm256_srli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(b + 34))), 12);
    odd_scales(_mm256_and_si256(s, _mm256_set1_epi32(7)), scale);
}
FORCE_INLINE float factor_IQ1_S(const uint8_t *b) { return load_f16(b) * 0.125f; }

FORCE_INLINE __m256i codes_IQ1_M(const uint8_t *b, int i)
{
    const uint8_t *q = b + 4 * i;
    int high = load_u16(b + 32 + 2 * i);
    __m256i t = four_entries(iq1_grid, q[0] | (high << 8 & 0x700), q[1] | (high << 4 & 0x700),
                             q[2] | (high & 0x700), q[3] | (high >> 4 & 0x700));
    __m256i at_bit = _mm256_srlv_epi64(_mm256_set1_epi64x(high), _mm256_setr_epi64x(2, 6, 10, 14));          /* minus: 2 */
    __m256i spread = _mm256_setr_epi64x(0, 0x0808080808080808, 0, 0x0808080808080808);
    return eighths(t, _mm256_andnot_si256(_mm256_shuffle_epi8(at_bit, spread), _mm256_set1_epi8(2)));
}
FORCE_INLINE void scales_IQ1_M(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    uint64_t words = load_u64(b + 48);
    __m256i shift = _mm256_setr_epi32(0, 3, 6, 9, 16, 19, 22, 25);
    for (int i = 0; i < 2; i++) {
        __m256i s = _mm256_srlv_epi32(_mm256_set1_epi32((int)(words >> 32 * i)), shift);
        odd_scales(_mm256_and_si256(s, _mm256_set1_epi32(7)), scale + 8 * i);
    }
}
FORCE_INLINE float factor_IQ1_M(const uint8_t *b)
{
    uint64_t words = load_u64(b + 48);
    int d = (int)((words >> 12 & 0xf) | (words >> 24 & 0xf0) | (words >> 36 & 0xf00) | (words >> 48 & 0xf000));
    return _cvtsh_ss((uint16_t)d) * 0.125f;
}

#endif
