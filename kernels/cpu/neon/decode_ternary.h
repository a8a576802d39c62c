/* Ternary formats, as decode.h has the others. */
#ifndef SUBBYTE_NEON_DECODE_TERNARY_H
#define SUBBYTE_NEON_DECODE_TERNARY_H
#include "decode.h"

/* The first ternary digit of each byte's fraction byte / 256, after multiplying it by `power` modulo 256: what 3 times as much
 * carries over, (3 y) >> 8, here as ((y + y / 2) >> 1) >> 6, which stays within a byte. scalar/ternary.c explains. */
FORCE_INLINE uint8x16_t digits(uint8x16_t bytes, uint8x16_t power)
{
    uint8x16_t y = bytes * power;
    return vhaddq_u8(y, y >> 1) >> 6;
}

FORCE_INLINE struct codes codes_TQ1_0(const uint8_t *b, int i)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    const uint8x16_t powers_of_four = {1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27};
    uint8x16_t sixteen = vld1q_u8(b + 32);
    if (i < 5)
        return (struct codes){digits(vld1q_u8(b), vdupq_n_u8(power[i])), digits(vld1q_u8(b + 16), vdupq_n_u8(power[i]))};
    if (i < 7)
        return (struct codes){digits(sixteen, vdupq_n_u8(power[2 * i - 10])), digits(sixteen, vdupq_n_u8(power[2 * i - 9]))};
    return (struct codes){digits(sixteen, vdupq_n_u8(81)), digits(four_bytes(b + 48), powers_of_four)};
}
FORCE_INLINE void scales_TQ1_0(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    scale[0] = scale[1] = vdupq_n_f32(1);
}
FORCE_INLINE float factor_TQ1_0(const uint8_t *b) { return load_f16(b + 52); }

FORCE_INLINE struct codes codes_TQ2_0(const uint8_t *b, int i) { return fields(load32(b + i / 4 * 32), i % 4 * 2, 3); }
FORCE_INLINE void scales_TQ2_0(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    scale[0] = scale[1] = vdupq_n_f32(1);
}
FORCE_INLINE float factor_TQ2_0(const uint8_t *b) { return load_f16(b + 64); }

#endif
