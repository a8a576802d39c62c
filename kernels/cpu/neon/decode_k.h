/* Blocks of 256 with small integer scales, as decode.h has the blocks of 32. blocks.h draws them. */
#ifndef SUBBYTE_NEON_DECODE_K_H
#define SUBBYTE_NEON_DECODE_K_H
#include "decode.h"

/* The codes with bit `from` of each byte of `high` as their bit `to`; the same with two bits. */
FORCE_INLINE uint8x16_t move_bits(uint8x16_t bytes, int from, int to, int mask)
{
    uint8x16_t moved = from < to ? bytes << (to - from) : bytes >> (from - to);
    return moved & vdupq_n_u8((uint8_t)(mask << to));
}
FORCE_INLINE struct codes with_bits(struct codes c, struct codes high, int from, int to, int mask)
{
    return (struct codes){c.low | move_bits(high.low, from, to, mask), c.high | move_bits(high.high, from, to, mask)};
}

/* Q4_K: f16 d, f16 dmin, 12 bytes of scales, 4 x 32 bytes: low nibbles of 32 weights, high nibbles of the next 32. */
FORCE_INLINE struct codes codes_Q4_K(const uint8_t *b, int i) { return fields(load32(b + 16 + i / 2 * 32), i % 2 * 4, 15); }

/* Eight 6-bit scales and mins in 12 bytes: bytes 0-3 and 4-7 hold scales and mins 0-3 in their low 6 bits, bytes 8-11 the
 * low nibbles of scales 4-7 and of mins 4-7, whose upper two bits are the top bits of bytes 0-7. */
FORCE_INLINE void scales_Q4_K(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    const int8x8_t nibble_at = {0, 0, 0, 0, -4, -4, -4, -4};
    uint8x8_t six = vld1_u8(b + 4), four = vreinterpret_u8_u32(vdup_n_u32(load_u32(b + 12)));
    uint8x8_t second = vsli_n_u8(vshl_u8(four, nibble_at) & 15, six >> 6, 4);          /* scales 4-7, mins 4-7 */
    uint32x2x2_t both = vzip_u32(vreinterpret_u32_u8(six & 63), vreinterpret_u32_u8(second));
    to_floats_u8(vreinterpret_u8_u32(both.val[0]), scale);
    times_u8(load_f16(b + 2), vreinterpret_u8_u32(both.val[1]), min);
}
#define scales_Q5_K scales_Q4_K
FORCE_INLINE float factor_Q4_K(const uint8_t *b) { return load_f16(b); }
#define factor_Q5_K factor_Q4_K

/* Q5_K: as Q4_K with 32 bytes before the nibbles, whose bit i is the fifth of the i-th 32 weights. */
FORCE_INLINE struct codes codes_Q5_K(const uint8_t *b, int i)
{
    return with_bits(fields(load32(b + 48 + i / 2 * 32), i % 2 * 4, 15), load32(b + 16), i, 4, 1);
}

/* Q6_K, by halves of 128 weights: 2 x 64 bytes of nibbles, 2 x 32 bytes of upper bit pairs, 16 x i8 scale, f16 d. */
FORCE_INLINE struct codes codes_Q6_K(const uint8_t *b, int i)
{
    int half = i / 4, j = i % 4;
    struct codes low = fields(load32(b + half * 64 + j % 2 * 32), j / 2 * 4, 15);
    return with_bits(low, load32(b + 128 + half * 32), 2 * j, 4, 3);
}
FORCE_INLINE void scales_Q6_K(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    int8x16_t s = vreinterpretq_s8_u8(vld1q_u8(b + 192));
    to_floats(vmovl_s8(vget_low_s8(s)), scale);
    to_floats(vmovl_high_s8(s), scale + 2);
}
FORCE_INLINE float factor_Q6_K(const uint8_t *b) { return load_f16(b + 208); }

/* Q2_K: 16 bytes with a scale in the low and a min in the high nibble, 2 x 32 bytes of four bit pairs, f16 d, f16 dmin. */
FORCE_INLINE struct codes codes_Q2_K(const uint8_t *b, int i) { return fields(load32(b + 16 + i / 4 * 32), i % 4 * 2, 3); }
FORCE_INLINE void scales_Q2_K(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    for (int i = 0; i < 2; i++) {
        uint8x8_t eight = vld1_u8(b + 8 * i);
        to_floats_u8(eight & 15, scale + 2 * i);
        times_u8(load_f16(b + 82), eight >> 4, min + 2 * i);
    }
}
FORCE_INLINE float factor_Q2_K(const uint8_t *b) { return load_f16(b + 80); }

/* Q3_K: 32 bytes whose bit i is the third of the i-th 32 weights, 2 x 32 bytes of four bit pairs, 12 bytes of scales, f16 d. */
FORCE_INLINE struct codes codes_Q3_K(const uint8_t *b, int i)
{
    return with_bits(fields(load32(b + 32 + i / 4 * 32), i % 4 * 2, 3), load32(b), i, 2, 1);
}
/* Sixteen scales plus 32 of 6 bits: 8 bytes hold the low nibbles of scales 0-7 and 8-15, 4 bytes the upper two bits, of four
 * scales at each shift. */
FORCE_INLINE void scales_Q3_K(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    const int8x16_t pair_at = {0, 0, 0, 0, -2, -2, -2, -2, -4, -4, -4, -4, -6, -6, -6, -6};
    uint8x8_t low = vld1_u8(b + 96);
    uint8x16_t high = vshlq_u8(four_bytes(b + 104), pair_at) & 3;
    int8x16_t s = vreinterpretq_s8_u8(vsliq_n_u8(vcombine_u8(low & 15, low >> 4), high, 4)) - 32;
    to_floats(vmovl_s8(vget_low_s8(s)), scale);
    to_floats(vmovl_high_s8(s), scale + 2);
}
FORCE_INLINE float factor_Q3_K(const uint8_t *b) { return load_f16(b + 108); }

/* IQ4_XS: f16 d, u16 upper bit pairs and 4 bytes of nibbles of the eight scales plus 32, 8 x 16 bytes as in IQ4_NL. */
FORCE_INLINE struct codes codes_IQ4_XS(const uint8_t *b, int i) { return nibbles_of(b + 8 + 16 * i, vld1q_s8(iq4_values)); }
FORCE_INLINE void scales_IQ4_XS(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    const int16x8_t nibble_at = {0, -4, -8, -12, 0, -4, -8, -12}, pair_at = {0, -2, -4, -6, -8, -10, -12, -14};
    uint16x8_t low = vcombine_u16(vdup_n_u16(load_u16(b + 4)), vdup_n_u16(load_u16(b + 6)));
    uint16x8_t high = vshlq_u16(vdupq_n_u16(load_u16(b + 2)), pair_at) & 3;
    to_floats(vreinterpretq_s16_u16((vshlq_u16(low, nibble_at) & 15) | high << 4) - 32, scale);
}
FORCE_INLINE float factor_IQ4_XS(const uint8_t *b) { return load_f16(b); }

#endif
