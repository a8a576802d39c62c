/* What avx2/decode.h does 32 codes at a time, 64 at a time: codes64_F(blocks, i) is the i-th 64 codes of 256 weights of format F,
 * which has no code book. Scales are the same, and no codes are signed. */
#ifndef SUBBYTE_AVX512_DECODE_H
#define SUBBYTE_AVX512_DECODE_H
#include "cpu/avx2/decode.h"
#include "cpu/avx2/decode_ternary.h"

/* Two vectors of 32 bytes or less as one; the same twice. */
FORCE_INLINE __m512i join(__m256i low, __m256i high) { return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1); }
FORCE_INLINE __m512i twice(const void *p) { return _mm512_broadcast_i64x4(load32(p)); }

/* Field at bit `low` of the lower 32 bytes and at bit `high` of the upper ones. */
FORCE_INLINE __m512i fields(__m512i bytes, int low, int high, int mask)
{
    __m512i shift = _mm512_setr_epi64(low, low, low, low, high, high, high, high);
    return _mm512_and_si512(_mm512_srlv_epi64(bytes, shift), _mm512_set1_epi8((char)mask));
}

/* Twice 16 bytes: the low nibbles of the first, its high ones, and so the second. */
FORCE_INLINE __m512i nibbles64(const uint8_t *p, const uint8_t *q)
{
    __m512i low = _mm512_broadcast_i64x2(_mm_loadu_si128((const void *)p));
    __m512i bytes = _mm512_mask_broadcast_i64x2(low, 0xf0, _mm_loadu_si128((const void *)q));
    __m512i shift = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    return _mm512_and_si512(_mm512_srlv_epi64(bytes, shift), _mm512_set1_epi8(15));
}

FORCE_INLINE __m512i look_up(__m128i table, __m512i indices) { return _mm512_shuffle_epi8(_mm512_broadcast_i64x2(table), indices); }

FORCE_INLINE __m512i add_where(__m512i codes, __mmask64 where, int value)
{
    return _mm512_mask_add_epi8(codes, where, codes, _mm512_set1_epi8((char)value));
}

/* Which of 2 x 32 weights have a bit at i and i + 1 of their byte. */
FORCE_INLINE __mmask64 bits_at(const uint8_t *p, int i)
{
    return _mm512_test_epi8_mask(twice(p), join(_mm256_set1_epi8((char)(1 << i)), _mm256_set1_epi8((char)(2 << i))));
}

/* ---- blocks of 32: two of them ---- */

FORCE_INLINE __mmask64 bits_of(const uint8_t *p, const uint8_t *q) { return load_u32(p) | (uint64_t)load_u32(q) << 32; }

FORCE_INLINE __m512i codes64_Q4_0(const uint8_t *b, int i) { b += 36 * i; return nibbles64(b + 2, b + 20); }
FORCE_INLINE __m512i codes64_Q4_1(const uint8_t *b, int i) { b += 40 * i; return nibbles64(b + 4, b + 24); }
FORCE_INLINE __m512i codes64_Q5_0(const uint8_t *b, int i)
{
    b += 44 * i;
    return add_where(nibbles64(b + 6, b + 28), bits_of(b + 2, b + 24), 16);
}
FORCE_INLINE __m512i codes64_Q5_1(const uint8_t *b, int i)
{
    b += 48 * i;
    return add_where(nibbles64(b + 8, b + 32), bits_of(b + 4, b + 28), 16);
}
FORCE_INLINE __m512i codes64_Q8_0(const uint8_t *b, int i)
{
    b += 68 * i;
    return _mm512_xor_si512(join(load32(b + 2), load32(b + 36)), _mm512_set1_epi8((char)0x80));
}
FORCE_INLINE __m128i biased_IQ4(void) { return _mm_add_epi8(levels_IQ4(), _mm_set1_epi8(127)); }
FORCE_INLINE __m512i codes64_IQ4_NL(const uint8_t *b, int i) { return look_up(biased_IQ4(), codes64_Q4_0(b, i)); }
FORCE_INLINE __m512i codes64_MXFP4(const uint8_t *b, int i)
{
    b += 34 * i;
    return look_up(levels_MXFP4(), nibbles64(b + 1, b + 18));
}

/* ---- blocks of 256 ---- */

FORCE_INLINE __m512i codes64_Q4_K(const uint8_t *b, int i) { return fields(twice(b + 16 + 32 * i), 0, 4, 15); }
FORCE_INLINE __m512i codes64_Q5_K(const uint8_t *b, int i)
{
    return add_where(fields(twice(b + 48 + 32 * i), 0, 4, 15), bits_at(b + 16, 2 * i), 16);
}
FORCE_INLINE __m512i codes64_Q6_K(const uint8_t *b, int i)
{
    int half = i / 2, top = i % 2;
    __m512i low = _mm512_loadu_si512(b + 64 * half), high = twice(b + 128 + 32 * half);
    low = top ? fields(low, 4, 4, 15) : _mm512_and_si512(low, _mm512_set1_epi8(15));
    high = top ? _mm512_srlv_epi64(high, _mm512_setr_epi64(0, 0, 0, 0, 2, 2, 2, 2))
               : _mm512_sllv_epi64(high, _mm512_setr_epi64(4, 4, 4, 4, 2, 2, 2, 2));
    return _mm512_or_si512(low, _mm512_and_si512(high, _mm512_set1_epi8(0x30)));
}
FORCE_INLINE __m512i codes64_Q2_K(const uint8_t *b, int i) { return fields(twice(b + 16 + i / 2 * 32), i % 2 * 4, i % 2 * 4 + 2, 3); }
FORCE_INLINE __m512i codes64_Q3_K(const uint8_t *b, int i)
{
    return add_where(fields(twice(b + 32 + i / 2 * 32), i % 2 * 4, i % 2 * 4 + 2, 3), bits_at(b, 2 * i), 4);
}
FORCE_INLINE __m512i codes64_IQ4_XS(const uint8_t *b, int i)
{
    b += 8 + 32 * i;
    return look_up(biased_IQ4(), nibbles64(b, b + 16));
}
FORCE_INLINE __m512i codes64_TQ2_0(const uint8_t *b, int i) { return fields(twice(b + i / 2 * 32), i % 2 * 4, i % 2 * 4 + 2, 3); }

/* digits() of decode_ternary.h. */
FORCE_INLINE __m512i digits64(__m512i bytes, __m512i power)
{
    __m512i three = _mm512_set1_epi16(3), even = _mm512_slli_epi16(bytes, 8);
    __m512i odd = _mm512_and_si512(bytes, _mm512_set1_epi16((short)0xff00));
    even = _mm512_mulhi_epu16(_mm512_mullo_epi16(even, power), three);
    odd = _mm512_mulhi_epu16(_mm512_mullo_epi16(odd, power), three);
    return _mm512_or_si512(even, _mm512_slli_epi16(odd, 8));
}
/* Powers of 3 for a quarter each, twice in 32 bits. */
FORCE_INLINE __m512i powers(int a, int b, int c, int d)
{
    return _mm512_inserti32x4(_mm512_inserti32x4(_mm512_inserti32x4(_mm512_set1_epi16((short)a), _mm_set1_epi16((short)b), 1),
                                                 _mm_set1_epi16((short)c), 2), _mm_set1_epi16((short)d), 3);
}
FORCE_INLINE __m512i codes64_TQ1_0(const uint8_t *b, int i)
{
    if (i < 2)
        return digits64(twice(b), i == 0 ? powers(1, 1, 3, 3) : powers(9, 9, 27, 27));
    __m512i sixteen = _mm512_broadcast_i64x2(_mm_loadu_si128((const void *)(b + 32)));
    if (i == 2)
        return digits64(_mm512_inserti64x4(sixteen, load32(b), 0), powers(81, 81, 1, 3));
    __m512i bytes = _mm512_mask_set1_epi32(sixteen, 0xf000, (int)load_u32(b + 48));
    __m128i of_four = _mm_setr_epi16(1, 1, 3, 3, 9, 9, 27, 27);
    return digits64(bytes, _mm512_inserti32x4(powers(9, 27, 81, 0), of_four, 3));
}

#endif

