/* Ternary formats, as decode.h has the others. */
#ifndef SUBBYTE_AVX2_DECODE_TERNARY_H
#define SUBBYTE_AVX2_DECODE_TERNARY_H
#include "decode.h"

/* The first ternary digit of each byte's fraction byte / 256, after multiplying it by `power` (16 bits for two bytes) modulo 256.
 * With the byte in the upper half of 16 bits, what 3 times as much carries over is the digit. scalar/ternary.c explains. */
FORCE_INLINE __m256i digits(__m256i bytes, __m256i power)
{
    __m256i three = _mm256_set1_epi16(3), even = _mm256_slli_epi16(bytes, 8);
    __m256i odd = _mm256_and_si256(bytes, _mm256_set1_epi16((short)0xff00));
    even = _mm256_mulhi_epu16(_mm256_mullo_epi16(even, power), three);
    odd = _mm256_mulhi_epu16(_mm256_mullo_epi16(odd, power), three);
    return _mm256_or_si256(even, _mm256_slli_epi16(odd, 8));
}

FORCE_INLINE __m256i halves(__m128i low, __m128i high) { return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1); }

FORCE_INLINE __m256i codes_TQ1_0(const uint8_t *b, int i)
{
    static const short power[5] = {1, 3, 9, 27, 81};
    __m128i sixteen = _mm_loadu_si128((const void *)(b + 32));
    if (i < 5)
        return digits(load32(b), _mm256_set1_epi16(power[i]));
    if (i < 7) {
        __m256i powers = halves(_mm_set1_epi16(power[2 * i - 10]), _mm_set1_epi16(power[2 * i - 9]));
        return digits(_mm256_broadcastsi128_si256(sixteen), powers);
    }
    __m256i powers = _mm256_setr_epi16(81, 81, 81, 81, 81, 81, 81, 81, 1, 1, 3, 3, 9, 9, 27, 27);
    return digits(halves(sixteen, _mm_set1_epi32((int)load_u32(b + 48))), powers);
}
FORCE_INLINE void scales_TQ1_0(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    _mm256_storeu_ps(scale, _mm256_set1_ps(1));
}
FORCE_INLINE uint16_t half_TQ1_0(const uint8_t *b) { return load_u16(b + 52); }

FORCE_INLINE __m256i codes_TQ2_0(const uint8_t *b, int i) { return field(load32(b + i / 4 * 32), i % 4 * 2, 3); }
FORCE_INLINE void scales_TQ2_0(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes, (void)min;
    _mm256_storeu_ps(scale, _mm256_set1_ps(1));
}
FORCE_INLINE uint16_t half_TQ2_0(const uint8_t *b) { return load_u16(b + 64); }

#endif
