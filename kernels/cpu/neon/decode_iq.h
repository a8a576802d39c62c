/* Code book formats, as decode.h has the others: entries of the books are loaded one by one, signs are put on as they are.
 * blocks.h draws the blocks. */
#ifndef SUBBYTE_NEON_DECODE_IQ_H
#define SUBBYTE_NEON_DECODE_IQ_H
#include "decode.h"

/* An index from its low byte and the `n`-th of the fields of some bits that lie apart. */
FORCE_INLINE int index_of(int low, int fields, int n, int bits) { return low | (fields >> n * bits & ((1 << bits) - 1)) << 8; }

/* Four entries of 8 weights, eight of 4. */
FORCE_INLINE struct codes four_entries(const uint64_t *grid, const int i[4])
{
    const uint64x2_t low = {grid[i[0]], grid[i[1]]}, high = {grid[i[2]], grid[i[3]]};
    return (struct codes){vreinterpretq_u8_u64(low), vreinterpretq_u8_u64(high)};
}
FORCE_INLINE struct codes eight_entries(const uint32_t *grid, const int i[8])
{
    const uint32x4_t low = {grid[i[0]], grid[i[1]], grid[i[2]], grid[i[3]]};
    const uint32x4_t high = {grid[i[4]], grid[i[5]], grid[i[6]], grid[i[7]]};
    return (struct codes){vreinterpretq_u8_u32(low), vreinterpretq_u8_u32(high)};
}

/* Magnitudes as signed bytes, minus where 255 and not 0: -x is (x ^ 255) + 1. */
FORCE_INLINE struct codes with_signs(struct codes magnitudes, struct codes minus)
{
    return (struct codes){(magnitudes.low ^ minus.low) - minus.low, (magnitudes.high ^ minus.high) - minus.high};
}

/* Sixteen bytes of 7 sign bits: the eighth sign makes the number of minuses even. */
FORCE_INLINE uint8x16_t even_sign_bits(uint8x16_t sevens) { return vsliq_n_u8(sevens, vcntq_u8(sevens), 7); }

/* The lower 28 bits of dwords to bytes of 7. */
FORCE_INLINE uint8x16_t four_sevens(uint32x4_t dwords)
{
    uint32x4_t upper = vsliq_n_u32(dwords >> 14, dwords >> 21, 8), all = vsliq_n_u32(dwords >> 7, upper, 8);
    return vreinterpretq_u8_u32(vsliq_n_u32(dwords, all, 8)) & 127;
}

/* 2 s + 1 for eight s. */
FORCE_INLINE void odd_scales(uint16x8_t s, float32x4_t scale[2])
{
    to_floats(vreinterpretq_s16_u16(s << 1 | 1), scale);
}
/* n s, 8 or 16, two a byte. */
FORCE_INLINE void odd_scales_nibbles(const uint8_t *p, int n, float32x4_t *scale)
{
    uint8x8_t bytes = n == 16 ? vld1_u8(p) : vreinterpret_u8_u32(vdup_n_u32(load_u32(p)));
    uint8x16_t s = vzip1q_u8(vcombine_u8(bytes & 15, bytes), vcombine_u8(bytes >> 4, bytes));
    odd_scales(vmovl_u8(vget_low_u8(s)), scale);
    if (n == 16)
        odd_scales(vmovl_high_u8(s), scale + 2);
}

/* IQ2_XXS: pairs of dwords, indices and signs; of four of them, the signs. */
FORCE_INLINE uint32x4_t signs_IQ2_XXS(const uint8_t *b, int four)
{
    struct codes pairs = load32(b + 2 + 32 * four);
    return vuzp2q_u32(vreinterpretq_u32_u8(pairs.low), vreinterpretq_u32_u8(pairs.high));
}
FORCE_INLINE struct codes codes_IQ2_XXS(const uint8_t *b, int i)
{
    const uint8_t *q = b + 2 + 8 * i;
    const int index[4] = {q[0], q[1], q[2], q[3]};
    uint8x16_t signs = even_sign_bits(four_sevens(signs_IQ2_XXS(b, i / 4)));
    return with_signs(four_entries(iq2xxs_grid, index), where_set(signs, 4 * (i % 4)));
}
FORCE_INLINE void scales_IQ2_XXS(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    uint16x4_t first = vmovn_u32(signs_IQ2_XXS(b, 0) >> 28), second = vmovn_u32(signs_IQ2_XXS(b, 1) >> 28);
    odd_scales(vcombine_u16(first, second), scale);
}
FORCE_INLINE float factor_IQ2_XXS(const uint8_t *b) { return load_f16(b) * 0.125f; }

FORCE_INLINE struct codes codes_IQ2_XS(const uint8_t *b, int i)
{
    const uint8_t *q = b + 2 + 8 * i, *four = b + 2 + 32 * (i / 4);
    const int index[4] = {load_u16(q) & 511, load_u16(q + 2) & 511, load_u16(q + 4) & 511, load_u16(q + 6) & 511};
    uint16x8_t first = vreinterpretq_u16_u8(vld1q_u8(four)), second = vreinterpretq_u16_u8(vld1q_u8(four + 16));
    uint8x16_t signs = even_sign_bits(vcombine_u8(vmovn_u16(first >> 9), vmovn_u16(second >> 9)));
    return with_signs(four_entries(iq2xs_grid, index), where_set(signs, 4 * (i % 4)));
}
FORCE_INLINE void scales_IQ2_XS(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    odd_scales_nibbles(b + 66, 16, scale);
}
FORCE_INLINE float factor_IQ2_XS(const uint8_t *b) { return load_f16(b) * 0.125f; }

FORCE_INLINE struct codes codes_IQ2_S(const uint8_t *b, int i)
{
    const uint8_t *q = b + 2 + 4 * i;
    int high = b[66 + i];
    const int index[4] = {index_of(q[0], high, 0, 2), index_of(q[1], high, 1, 2), index_of(q[2], high, 2, 2),
                          index_of(q[3], high, 3, 2)};
    return with_signs(four_entries(iq2s_grid, index), where_set(four_bytes(b + 34 + 4 * i), 0));
}
FORCE_INLINE void scales_IQ2_S(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    odd_scales_nibbles(b + 74, 16, scale);
}
FORCE_INLINE float factor_IQ2_S(const uint8_t *b) { return load_f16(b) * 0.125f; }

FORCE_INLINE struct codes codes_IQ3_XXS(const uint8_t *b, int i)
{
    int index[8];
    for (int j = 0; j < 8; j++)
        index[j] = b[2 + 8 * i + j];
    uint8x16_t signs = even_sign_bits(four_sevens(vreinterpretq_u32_u8(vld1q_u8(b + 66 + i / 4 * 16))));
    return with_signs(eight_entries(iq3xxs_grid, index), where_set(signs, 4 * (i % 4)));
}
FORCE_INLINE void scales_IQ3_XXS(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    uint32x4_t first = vreinterpretq_u32_u8(vld1q_u8(b + 66)), second = vreinterpretq_u32_u8(vld1q_u8(b + 82));
    odd_scales(vcombine_u16(vmovn_u32(first >> 28), vmovn_u32(second >> 28)), scale);
}
FORCE_INLINE float factor_IQ3_XXS(const uint8_t *b) { return load_f16(b) * 0.25f; }

FORCE_INLINE struct codes codes_IQ3_S(const uint8_t *b, int i)
{
    int index[8];
    for (int j = 0; j < 8; j++)
        index[j] = index_of(b[2 + 8 * i + j], b[66 + i], j, 1);
    return with_signs(eight_entries(iq3s_grid, index), where_set(four_bytes(b + 74 + 4 * i), 0));
}
FORCE_INLINE void scales_IQ3_S(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    odd_scales_nibbles(b + 106, 8, scale);
}
FORCE_INLINE float factor_IQ3_S(const uint8_t *b) { return load_f16(b); }

/* IQ1's book holds 8 (t + 1) for t of -1, 0 or 1; codes count eighths: 8 t, and 1 more or less. */
FORCE_INLINE struct codes eighths(struct codes entries, uint8x16_t low, uint8x16_t high)
{
    return (struct codes){entries.low + (low - 8), entries.high + (high - 8)};
}

FORCE_INLINE struct codes codes_IQ1_S(const uint8_t *b, int i)
{
    const uint8_t *q = b + 2 + 4 * i;
    int high = load_u16(b + 34 + 2 * i);
    const int index[4] = {index_of(q[0], high, 0, 3), index_of(q[1], high, 1, 3), index_of(q[2], high, 2, 3),
                          index_of(q[3], high, 3, 3)};
    uint8x16_t eighth = vdupq_n_u8(high >> 15 ? 255 : 1);
    return eighths(four_entries(iq1_grid, index), eighth, eighth);
}
FORCE_INLINE void scales_IQ1_S(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    uint16x8_t s = vreinterpretq_u16_u8(vld1q_u8(b + 34)) >> 12;
    odd_scales(s & 7, scale);
}
FORCE_INLINE float factor_IQ1_S(const uint8_t *b) { return load_f16(b) * 0.125f; }

FORCE_INLINE struct codes codes_IQ1_M(const uint8_t *b, int i)
{
    const uint8_t *q = b + 4 * i;
    int high = load_u16(b + 32 + 2 * i);
    const int index[4] = {q[0] | (high & 7) << 8, q[1] | (high >> 4 & 7) << 8, q[2] | (high >> 8 & 7) << 8,
                          q[3] | (high >> 12 & 7) << 8};
    /* Bit 3 of each half byte of `high`, for 8 weights each: minus. */
    const uint8x16_t bit_of = {8, 8, 8, 8, 8, 8, 8, 8, 128, 128, 128, 128, 128, 128, 128, 128};
    uint8x16_t low_minus = vtstq_u8(vdupq_n_u8((uint8_t)high), bit_of), high_minus = vtstq_u8(vdupq_n_u8(high >> 8), bit_of);
    return eighths(four_entries(iq1_grid, index), low_minus | 1, high_minus | 1);
}
FORCE_INLINE void scales_IQ1_M(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    const int16x8_t s_at = {0, -3, -6, -9, 0, -3, -6, -9};
    uint16_t words[4] = {load_u16(b + 48), load_u16(b + 50), load_u16(b + 52), load_u16(b + 54)};
    for (int i = 0; i < 2; i++) {
        uint16x8_t pair = vcombine_u16(vdup_n_u16(words[2 * i]), vdup_n_u16(words[2 * i + 1]));
        odd_scales(vshlq_u16(pair, s_at) & 7, scale + 2 * i);
    }
}
FORCE_INLINE float factor_IQ1_M(const uint8_t *b)
{
    uint16_t words[4] = {load_u16(b + 48), load_u16(b + 50), load_u16(b + 52), load_u16(b + 54)};
    uint16_t bits = (uint16_t)(words[0] >> 12 | (words[1] >> 8 & 0xf0) | (words[2] >> 4 & 0xf00) | (words[3] & 0xf000));
    return load_f16((const uint8_t *)&bits) * 0.125f;
}

#endif
