/* Code book formats, in three steps, since what can be done for a whole block at once is cheap and what is done for each entry of a
 * book is not: for format F
 *   look_up_F(block, &l)              numbers of the entries where the block has them in pieces, and signs as one bit a weight
 *   magnitudes_F(block, &l, i)        the entries of the i-th 32 weights, loaded one by one
 *   codes_F(block, &l, i)             the same with their signs: the codes of decode.h
 * blocks.h draws the blocks. IQ1's magnitudes are its codes but for what is added to all of 8 or 32 neighbours. */
#ifndef SUBBYTE_AVX2_DECODE_IQ_H
#define SUBBYTE_AVX2_DECODE_IQ_H
#include "formats/codebooks.h"
#include "decode.h"

struct looked_up {
    _Alignas(32) uint16_t index[64];
    _Alignas(32) uint32_t signs[8];       /* one bit a weight, 1 for minus; of IQ1_M a byte for each 8 */
};

/* Makes the compiler load what was stored: it would take numbers out of vectors one by one, for twice as many instructions. Formats
 * without book need it as well: without, gcc 12 takes the scales of Q4_1 and Q5_1 through the stack, at 0.6 to 0.8 of the speed. */
FORCE_INLINE void in_memory(struct looked_up *l) { __asm__ volatile("" : "+m"(*l)); }

/* The entries of 32 weights whose numbers begin at p: four of 8 weights, eight of 4. As functions of the numbers: gcc 12 makes five
 * instructions in a hundred less of them than of expressions. */
FORCE_INLINE __m256i four_entries(const uint64_t *grid, int a, int b, int c, int d)
{
    return _mm256_setr_epi64x((int64_t)grid[a], (int64_t)grid[b], (int64_t)grid[c], (int64_t)grid[d]);
}
FORCE_INLINE __m256i eight_entries(const uint32_t *grid, int a, int b, int c, int d, int e, int f, int g, int h)
{
    return _mm256_setr_epi32((int)grid[a], (int)grid[b], (int)grid[c], (int)grid[d], (int)grid[e], (int)grid[f], (int)grid[g], (int)grid[h]);
}
#define FOUR_ENTRIES(grid, p) four_entries(grid, (p)[0], (p)[1], (p)[2], (p)[3])
#define EIGHT_ENTRIES(grid, p) eight_entries(grid, (p)[0], (p)[1], (p)[2], (p)[3], (p)[4], (p)[5], (p)[6], (p)[7])

/* magnitudes_F from entries, which may be of numbers in the block b or of those in l. */
#define MAGNITUDES(name, entries) \
    FORCE_INLINE __m256i magnitudes_##name(const uint8_t *b, const struct looked_up *l, int i) { return (void)b, (void)l, entries; }

/* Each of 4 bytes eight times. */
FORCE_INLINE __m256i spread(uint32_t four_bytes)
{
    __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    return _mm256_shuffle_epi8(_mm256_set1_epi32((int)four_bytes), byte_of);
}

/* -1 for the weights of the i-th 32 that are minus, else 0. */
FORCE_INLINE __m256i where_minus(const struct looked_up *l, int i)
{
    __m256i bit_of = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    return _mm256_cmpeq_epi8(_mm256_and_si256(spread(l->signs[i]), bit_of), bit_of);
}

/* bias - magnitude where minus, else bias + magnitude. */
FORCE_INLINE __m256i with_signs(__m256i magnitudes, __m256i minus, int bias)
{
    return _mm256_add_epi8(_mm256_xor_si256(magnitudes, minus), _mm256_sub_epi8(_mm256_set1_epi8((char)bias), minus));
}

/* Bytes of 7 sign bits to bytes of 8, of which the last makes the number of minuses even. */
FORCE_INLINE __m256i even_sign_bits(__m256i sevens)
{
    __m256i folded = _mm256_and_si256(_mm256_xor_si256(sevens, _mm256_srli_epi16(sevens, 4)), _mm256_set1_epi8(15));
    __m128i odd = _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0);   /* bits in 0..15 */
    return _mm256_or_si256(sevens, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(odd), folded));
}

/* The lower 28 bits of dwords to bytes of 7: what lies above bit 7, 15 and 23 moves up by one, which is to be added to itself. */
FORCE_INLINE __m256i four_sevens(__m256i dwords)
{
    __m256i v = _mm256_and_si256(dwords, _mm256_set1_epi32(0x0fffffff));
    v = _mm256_add_epi32(v, _mm256_and_si256(v, _mm256_set1_epi32(~0x7f)));
    v = _mm256_add_epi32(v, _mm256_and_si256(v, _mm256_set1_epi32(~0x7fff)));
    return _mm256_add_epi32(v, _mm256_and_si256(v, _mm256_set1_epi32(~0x7fffff)));
}

FORCE_INLINE void store_signs(struct looked_up *l, __m256i bits) { _mm256_store_si256((void *)l->signs, bits); }

/* Sixteen entry numbers: low bytes from q on, and above them `high`. */
FORCE_INLINE void store_indices(uint16_t *index, const uint8_t *q, __m256i high)
{
    _mm256_store_si256((void *)index, _mm256_or_si256(_mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)q)), high));
}

/* What stands above the low bytes of sixteen numbers: bits of `mask` of words that are made of two bytes of v each, by the numbers in
 * bytes_of (0x80: zero), and are multiplied with powers of two. */
FORCE_INLINE __m256i high_bits(__m128i v, __m256i bytes_of, __m256i powers, int mask)
{
    __m256i words = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(v), bytes_of);
    return _mm256_and_si256(_mm256_mullo_epi16(words, powers), _mm256_set1_epi16((short)mask));
}

/* 2 s + 1 for eight s. */
FORCE_INLINE void odd_scales(__m256i s, float *scale)
{
    _mm256_storeu_ps(scale, _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_slli_epi32(s, 1), _mm256_set1_epi32(1))));
}
/* The same for sixteen nibbles, as words. */
FORCE_INLINE __m256i odd_words(const uint8_t *nibbles)
{
    __m128i v = _mm_loadl_epi64((const void *)nibbles), s = _mm_and_si128(_mm_unpacklo_epi8(v, _mm_srli_epi16(v, 4)), _mm_set1_epi8(15));
    return _mm256_cvtepu8_epi16(_mm_add_epi8(_mm_add_epi8(s, s), _mm_set1_epi8(1)));
}

/* ---- IQ2_XXS ---- */

/* The odd dwords of a block: four times 7 signs and a scale of 4 bits each. */
FORCE_INLINE __m256i sign_words_IQ2_XXS(const uint8_t *b)
{
    __m256 low = _mm256_castsi256_ps(load32(b + 2)), high = _mm256_castsi256_ps(load32(b + 34));
    __m256d odd = _mm256_castps_pd(_mm256_shuffle_ps(low, high, 0xdd));
    return _mm256_castpd_si256(_mm256_permute4x64_pd(odd, 0xd8));
}
FORCE_INLINE void look_up_IQ2_XXS(const uint8_t *b, struct looked_up *l)
{
    store_signs(l, even_sign_bits(four_sevens(sign_words_IQ2_XXS(b))));
}
MAGNITUDES(IQ2_XXS, FOUR_ENTRIES(iq2xxs_grid, b + 2 + 8 * i))
FORCE_INLINE void scales_IQ2_XXS(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    odd_scales(_mm256_srli_epi32(sign_words_IQ2_XXS(b), 28), scale);
}
#define half_IQ2_XXS half_first

/* ---- IQ2_XS ---- */

FORCE_INLINE void look_up_IQ2_XS(const uint8_t *b, struct looked_up *l)
{
    __m256i low = load32(b + 2), high = load32(b + 34), nine = _mm256_set1_epi16(511);
    _mm256_store_si256((void *)l->index, _mm256_and_si256(low, nine));
    _mm256_store_si256((void *)(l->index + 16), _mm256_and_si256(high, nine));
    __m256i sevens = _mm256_packus_epi16(_mm256_srli_epi16(low, 9), _mm256_srli_epi16(high, 9));
    store_signs(l, even_sign_bits(_mm256_permute4x64_epi64(sevens, 0xd8)));
}
MAGNITUDES(IQ2_XS, FOUR_ENTRIES(iq2xs_grid, l->index + 4 * i))
FORCE_INLINE __m256i scale_words_IQ2_XS(const uint8_t *b) { return odd_words(b + 66); }
SCALES_OF_WORDS(IQ2_XS)
#define half_IQ2_XS half_first

/* ---- IQ2_S ---- */

FORCE_INLINE void look_up_IQ2_S(const uint8_t *b, struct looked_up *l)
{
    const __m256i bytes_of = _mm256_setr_epi16(0x8000, 0x8000, 0x8000, 0x8000, 0x8001, 0x8001, 0x8001, 0x8001,
                                               0x8002, 0x8002, 0x8002, 0x8002, 0x8003, 0x8003, 0x8003, 0x8003);
    const __m256i powers = _mm256_set1_epi64x(0x0004001000400100);
    for (int i = 0; i < 2; i++)
        store_indices(l->index + 16 * i, b + 2 + 16 * i,
                      high_bits(_mm_cvtsi32_si128((int)load_u32(b + 66 + 4 * i)), bytes_of, powers, 0x300));
    store_signs(l, load32(b + 34));
}
MAGNITUDES(IQ2_S, FOUR_ENTRIES(iq2s_grid, l->index + 4 * i))
FORCE_INLINE __m256i scale_words_IQ2_S(const uint8_t *b) { return odd_words(b + 74); }
SCALES_OF_WORDS(IQ2_S)
#define half_IQ2_S half_first

/* ---- IQ3_XXS ---- */

FORCE_INLINE void look_up_IQ3_XXS(const uint8_t *b, struct looked_up *l) { store_signs(l, even_sign_bits(four_sevens(load32(b + 66)))); }
MAGNITUDES(IQ3_XXS, EIGHT_ENTRIES(iq3xxs_grid, b + 2 + 8 * i))
FORCE_INLINE void scales_IQ3_XXS(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    odd_scales(_mm256_srli_epi32(load32(b + 66), 28), scale);
}
#define half_IQ3_XXS half_first

/* ---- IQ3_S ---- */

FORCE_INLINE void look_up_IQ3_S(const uint8_t *b, struct looked_up *l)
{
    const __m256i bytes_of = _mm256_setr_epi16(0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000, 0x8000,
                                               0x8001, 0x8001, 0x8001, 0x8001, 0x8001, 0x8001, 0x8001, 0x8001);
    const __m256i powers = _mm256_setr_epi16(256, 128, 64, 32, 16, 8, 4, 2, 256, 128, 64, 32, 16, 8, 4, 2);
    for (int i = 0; i < 4; i++)
        store_indices(l->index + 16 * i, b + 2 + 16 * i,
                      high_bits(_mm_cvtsi32_si128(load_u16(b + 66 + 2 * i)), bytes_of, powers, 0x100));
    store_signs(l, load32(b + 74));
}
MAGNITUDES(IQ3_S, EIGHT_ENTRIES(iq3s_grid, l->index + 8 * i))
FORCE_INLINE void scales_IQ3_S(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    __m256i shift = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    __m256i s = _mm256_srlv_epi32(_mm256_set1_epi32((int)load_u32(b + 106)), shift);
    odd_scales(_mm256_and_si256(s, _mm256_set1_epi32(15)), scale);
}
#define half_IQ3_S half_first

/* ---- IQ1_S: eighths, 2 more where 1/8 is added and not taken off ---- */

FORCE_INLINE void look_up_IQ1_S(const uint8_t *b, struct looked_up *l)
{
    /* bits 3 j and on of a word: three times to the left, and of j = 3 to the right */
    const __m256i bytes_of = _mm256_setr_epi16(0x0100, 0x0100, 0x0100, 0x0908, 0x0302, 0x0302, 0x0302, 0x0b0a,
                                               0x0504, 0x0504, 0x0504, 0x0d0c, 0x0706, 0x0706, 0x0706, 0x0f0e);
    const __m256i powers = _mm256_set1_epi64x(0x0001000400200100);
    for (int i = 0; i < 2; i++) {
        __m128i words = _mm_loadl_epi64((const void *)(b + 34 + 8 * i)), halved = _mm_srli_epi16(words, 1);
        store_indices(l->index + 16 * i, b + 2 + 16 * i, high_bits(_mm_unpacklo_epi64(words, halved), bytes_of, powers, 0x700));
    }
}
MAGNITUDES(IQ1_S, FOUR_ENTRIES(iq1_grid, l->index + 4 * i))
FORCE_INLINE __m256i codes_IQ1_S(const uint8_t *b, const struct looked_up *l, int i)
{
    return _mm256_or_si256(magnitudes_IQ1_S(b, l, i), _mm256_set1_epi8(b[35 + 2 * i] >> 7 ? 0 : 2));
}
/* What is too much in magnitudes, as 16 bits for each 16 weights: 9 or 7. */
FORCE_INLINE __m256i biases_IQ1_S(const uint8_t *b)
{
    const __m256i twice = _mm256_setr_epi16(0x0100, 0x0100, 0x0302, 0x0302, 0x0504, 0x0504, 0x0706, 0x0706,
                                            0x0908, 0x0908, 0x0b0a, 0x0b0a, 0x0d0c, 0x0d0c, 0x0f0e, 0x0f0e);
    __m256i words = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)(b + 34))), twice);
    return _mm256_add_epi16(_mm256_set1_epi16(7), _mm256_slli_epi16(_mm256_srli_epi16(words, 15), 1));
}
FORCE_INLINE void scales_IQ1_S(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    __m256i s = _mm256_srli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(b + 34))), 12);
    odd_scales(_mm256_and_si256(s, _mm256_set1_epi32(7)), scale);
}
#define half_IQ1_S half_first

/* ---- IQ1_M: the same for every 8 weights; the place of signs holds these 2 or 0 ---- */

FORCE_INLINE void look_up_IQ1_M(const uint8_t *b, struct looked_up *l)
{
    const __m256i bytes_of = _mm256_setr_epi16(0x8000, 0x8000, 0x8001, 0x8001, 0x8002, 0x8002, 0x8003, 0x8003,
                                               0x8004, 0x8004, 0x8005, 0x8005, 0x8006, 0x8006, 0x8007, 0x8007);
    const __m256i powers = _mm256_set1_epi32(0x00100100);
    for (int i = 0; i < 2; i++)
        store_indices(l->index + 16 * i, b + 16 * i,
                      high_bits(_mm_loadl_epi64((const void *)(b + 32 + 8 * i)), bytes_of, powers, 0x700));
    __m256i words = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)(b + 32)));
    __m256i halves = _mm256_or_si256(words, _mm256_slli_epi16(words, 4));                      /* bit 3 of each byte: minus */
    store_signs(l, _mm256_andnot_si256(_mm256_srli_epi16(halves, 2), _mm256_set1_epi8(2)));
}
MAGNITUDES(IQ1_M, _mm256_or_si256(FOUR_ENTRIES(iq1_grid, l->index + 4 * i), spread(l->signs[i])))
#define codes_IQ1_M magnitudes_IQ1_M
/* 2 s + 1 of sixteen s, four of three bits from the lowest on in each of four words: to bit 9 and on, then to bit 1. */
FORCE_INLINE __m256i scale_words_IQ1_M(const uint8_t *b)
{
    const __m256i word_of = _mm256_setr_epi16(0x0100, 0x0100, 0x0100, 0x0100, 0x0302, 0x0302, 0x0302, 0x0302,
                                              0x0504, 0x0504, 0x0504, 0x0504, 0x0706, 0x0706, 0x0706, 0x0706);
    const __m256i powers = _mm256_set1_epi64x(0x0001000800400200);
    __m256i words = _mm256_shuffle_epi8(_mm256_set1_epi64x((long long)load_u64(b + 48)), word_of);
    __m256i twice = _mm256_and_si256(_mm256_srli_epi16(_mm256_mullo_epi16(words, powers), 8), _mm256_set1_epi16(14));
    return _mm256_or_si256(twice, _mm256_set1_epi16(1));
}
SCALES_OF_WORDS(IQ1_M)
FORCE_INLINE uint16_t half_IQ1_M(const uint8_t *b)
{
    uint64_t words = load_u64(b + 48);
    return (uint16_t)((words >> 12 & 0xf) | (words >> 24 & 0xf0) | (words >> 36 & 0xf00) | (words >> 48 & 0xf000));
}

#define CODES_WITH_SIGNS(name) \
    FORCE_INLINE __m256i codes_##name(const uint8_t *b, const struct looked_up *l, int i) \
    { \
        return with_signs(magnitudes_##name(b, l, i), where_minus(l, i), format_info[FORMAT_##name].bias); \
    }
CODES_WITH_SIGNS(IQ2_XXS)
CODES_WITH_SIGNS(IQ2_XS)
CODES_WITH_SIGNS(IQ2_S)
CODES_WITH_SIGNS(IQ3_XXS)
CODES_WITH_SIGNS(IQ3_S)
#undef CODES_WITH_SIGNS

#endif
