/* The code book formats with AVX-512 VBMI, BITALG and GFNI: decode_F(block, next, d) prepares 64 indices of format F, of one
 * block or two, for what codebook_regs.h makes of them. blocks.h draws the blocks; scales are those of avx2/decode_iq.h. */
#ifndef SUBBYTE_AVX512VBMI_DECODE_H
#define SUBBYTE_AVX512VBMI_DECODE_H
#include "codebook_regs.h"

/* Seven sign bits from bit `first` on to eight: the last makes their sum even. Each byte of the matrix says which bits are
 * added up, the lowest byte for bit 7. */
FORCE_INLINE __m512i even_signs_from(__m512i bytes, int first)
{
    return _mm512_gf2p8affine_epi64_epi8(bytes, _mm512_set1_epi64(first ? 0x02040810204080fe : 0x010204081020407f), 0);
}
FORCE_INLINE __m512i four_sevens64(__m512i dwords)
{
    return even_signs_from(_mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720150e0700), dwords), 0);
}

/* ---- groups of 32 ---- */

FORCE_INLINE __m512i qwords_of_dwords(const uint8_t *p) { return _mm512_cvtepu32_epi64(load32(p)); }

FORCE_INLINE void decode_IQ2_XXS(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    __m512i groups = _mm512_loadu_si512(b + 2), groups_next = _mm512_loadu_si512(next + 2);
    look_up(iq2xxs_levels[0], 256, even_dwords(groups, groups_next), NULL, d->levels);
    d->side = four_sevens64(odd_dwords(groups, groups_next));
}

FORCE_INLINE void decode_IQ3_XXS(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    (void)next;
    look_up(iq3xxs_levels[0], 256, _mm512_loadu_si512(b + 2), NULL, d->levels);
    d->side = four_sevens64(qwords_of_dwords(b + 66));
}

FORCE_INLINE void decode_IQ3_S(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    (void)next;
    __mmask64 bit_8 = load_u64(b + 66);
    look_up(iq3s_levels[0], 512, _mm512_loadu_si512(b + 2), &bit_8, d->levels);
    d->side = qwords_of_dwords(b + 74);
}

/* Levels count -8, 0, 8 from 0 on: 8 too much, and 1 more where an eighth is taken off, 1 less where it is added. */
FORCE_INLINE void look_up_IQ1(__m512i index, __m512i high, __mmask64 minus, struct decoded *d)
{
    __mmask64 bits[3] = {has_bit(high, 0), has_bit(high, 1), has_bit(high, 2)};
    look_up(iq1_levels[0], 2048, index, bits, d->levels);
    d->side = _mm512_mask_mov_epi8(_mm512_set1_epi8(7), minus, _mm512_set1_epi8(9));
}

FORCE_INLINE void decode_IQ1_S(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    __m512i index = even_dwords(qwords_of_dwords(b + 2), qwords_of_dwords(next + 2));
    __m512i qh = _mm512_cvtepu16_epi64(_mm_loadu_si128((const void *)(b + 34)));
    __m512i qh_next = _mm512_cvtepu16_epi64(_mm_loadu_si128((const void *)(next + 34)));
    qh = even_dwords(qh, qh_next);
    __m512i high = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x2926232009060300), qh);
    __m512i sign = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x2f2f2f2f0f0f0f0f), qh);
    look_up_IQ1(index, high, has_bit(sign, 0), d);
}

/* ---- groups of 16 ---- */

#define UNIT(n) (I(n) % 4 / 2 * 16 + Q(n) * 2 + I(n) % 2)        /* of byte n, in its block I(n) / 4 */
#define UNIT_OF_TWO(n) (I(n) / 4 * 32 + UNIT(n))
#define LOW_BYTE(n) (2 * UNIT_OF_TWO(n))
#define HIGH_BYTE(n) (2 * UNIT_OF_TWO(n) + 1)

FORCE_INLINE void decode_IQ2_XS(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    __m512i qs = _mm512_loadu_si512(b + 2), qs_next = _mm512_loadu_si512(next + 2);
    __m512i high = _mm512_permutex2var_epi8(qs, VECTOR(HIGH_BYTE), qs_next);
    __mmask64 bit_8 = has_bit(high, 0);
    look_up(iq2xs_levels[0], 512, _mm512_permutex2var_epi8(qs, VECTOR(LOW_BYTE), qs_next), &bit_8, d->levels);
    d->side = even_signs_from(high, 1);
}

/* qh has two bits an index. With one of them from each of two blocks, that of index m of block n is bit 2 m + n. */
#define BIT_OF_QH(n) (2 * UNIT(n) + I(n) / 4)
FORCE_INLINE void decode_IQ2_S(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    const uint64_t even = 0x5555555555555555;
    uint64_t qh = load_u64(b + 66), qh_next = load_u64(next + 66);
    __m512i bits_8 = _mm512_set1_epi64((int64_t)((qh & even) | (qh_next & even) << 1));
    __m512i bits_9 = _mm512_set1_epi64((int64_t)((qh >> 1 & even) | (qh_next & ~even)));
    __mmask64 high[2] = {_mm512_bitshuffle_epi64_mask(bits_8, VECTOR(BIT_OF_QH)),
                         _mm512_bitshuffle_epi64_mask(bits_9, VECTOR(BIT_OF_QH))};
    look_up(iq2s_levels[0], 1024, _mm512_permutexvar_epi8(VECTOR(UNIT_OF_TWO), load_two(b + 2, next + 2)), high, d->levels);
    d->side = _mm512_permutexvar_epi8(VECTOR(UNIT_OF_TWO), load_two(b + 34, next + 34));
}

/* qh has a nibble an index: 3 bits and the sign. */
#define BYTE_OF_QH(n) (UNIT_OF_TWO(n) / 2)
#define ITS_NIBBLE(n) (8 * I(n) + 4 * (I(n) % 2))
FORCE_INLINE void decode_IQ1_M(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    __m256i qh = _mm256_loadu2_m128i((const void *)(next + 32), (const void *)(b + 32));
    __m512i high = _mm512_permutexvar_epi8(VECTOR(BYTE_OF_QH), _mm512_castsi256_si512(qh));
    high = _mm512_multishift_epi64_epi8(VECTOR(ITS_NIBBLE), high);
    look_up_IQ1(_mm512_permutexvar_epi8(VECTOR(UNIT_OF_TWO), load_two(b, next)), high, has_bit(high, 3), d);
}

#endif
