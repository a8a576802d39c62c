/* What the vector kernels know of each block format, in NEON: for format F,
 *   codes_F(block, i)    the i-th 32 codes of a block in weight order: signed bytes with the bias off already where they come so
 *                        (codes_are_signed), else unsigned ones of at most 127
 *   scales_F(blocks, n, bytes, scale, min)
 *                        the scales of the groups of n blocks, four to a vector, and their mins where the format has some;
 *                        n is 1 for blocks of 256, 4 or 1 for blocks of 32 (then all lanes are alike)
 *   factor_F(block)      what all scales of a block of 256 are to be multiplied with
 * dot_template.h and unpack.c make the kernels of a format from these. Layouts as in gguf-py's quants.py. This file has the blocks
 * of 32; the others are in decode_k.h, decode_ternary.h and decode_iq.h. */
#ifndef SUBBYTE_NEON_DECODE_H
#define SUBBYTE_NEON_DECODE_H
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>
#include "formats/codebooks.h"
#include "formats/formats.h"

#define FORCE_INLINE static inline __attribute__((always_inline))

struct codes { uint8x16_t low, high; };

typedef struct codes codes_fn(const uint8_t *block, int i);
typedef float factor_fn(const uint8_t *block);
typedef void scales_fn(const uint8_t *blocks, int n, int bytes, float32x4_t *scale, float32x4_t *min);

FORCE_INLINE uint32_t load_u32(const uint8_t *p) { uint32_t v; memcpy(&v, p, sizeof v); return v; }
FORCE_INLINE uint16_t load_u16(const uint8_t *p) { uint16_t v; memcpy(&v, p, sizeof v); return v; }
FORCE_INLINE float load_f16(const uint8_t *p) { __fp16 v; memcpy(&v, p, sizeof v); return v; }
FORCE_INLINE struct codes load32(const uint8_t *p) { return (struct codes){vld1q_u8(p), vld1q_u8(p + 16)}; }

FORCE_INLINE int codes_are_signed(enum format f)
{
    switch (f) {
    case FORMAT_Q8_0: case FORMAT_IQ4_NL: case FORMAT_IQ4_XS: case FORMAT_MXFP4: case FORMAT_IQ1_S: case FORMAT_IQ1_M:
    case FORMAT_IQ2_XXS: case FORMAT_IQ2_XS: case FORMAT_IQ2_S: case FORMAT_IQ3_XXS: case FORMAT_IQ3_S:
        return 1;
    default:
        return 0;
    }
}

/* Field of `mask` bits at bit `shift` of each byte. */
FORCE_INLINE uint8x16_t field(uint8x16_t bytes, int shift, int mask) { return bytes >> shift & vdupq_n_u8((uint8_t)mask); }
FORCE_INLINE struct codes fields(struct codes bytes, int shift, int mask)
{
    return (struct codes){field(bytes.low, shift, mask), field(bytes.high, shift, mask)};
}

/* 16 bytes: the 16 low nibbles, then the 16 high ones. */
FORCE_INLINE struct codes nibbles(const uint8_t *p)
{
    uint8x16_t bytes = vld1q_u8(p);
    return (struct codes){field(bytes, 0, 15), bytes >> 4};
}

/* The same, as indices into a table of 16. */
FORCE_INLINE struct codes nibbles_of(const uint8_t *p, int8x16_t table)
{
    struct codes index = nibbles(p);
    uint8x16_t levels = vreinterpretq_u8_s8(table);
    return (struct codes){vqtbl1q_u8(levels, index.low), vqtbl1q_u8(levels, index.high)};
}

/* Which weights have their bit set in 32 bits, as 0 or 255: byte j of 4 belongs to weights 8 j to 8 j + 7, lowest bit first. */
FORCE_INLINE struct codes where_set(uint8x16_t bytes, int first)
{
    const uint8x16_t bit_of = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t byte_of = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    uint8x16_t low = vqtbl1q_u8(bytes, byte_of + (uint8_t)first), high = vqtbl1q_u8(bytes, byte_of + (uint8_t)(first + 2));
    return (struct codes){vtstq_u8(low, bit_of), vtstq_u8(high, bit_of)};
}
FORCE_INLINE uint8x16_t four_bytes(const uint8_t *p) { return vreinterpretq_u8_u32(vdupq_n_u32(load_u32(p))); }

/* Adds 16 to the codes whose bit is set (codes below 16). */
FORCE_INLINE struct codes fifth_bit(struct codes c, const uint8_t *bits)
{
    struct codes set = where_set(four_bytes(bits), 0);
    return (struct codes){c.low | (set.low & 16), c.high | (set.high & 16)};
}

/* Eight integers as floats; the same times d. */
FORCE_INLINE void to_floats(int16x8_t ints, float32x4_t out[2])
{
    out[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(ints)));
    out[1] = vcvtq_f32_s32(vmovl_high_s16(ints));
}
FORCE_INLINE void to_floats_u8(uint8x8_t ints, float32x4_t out[2]) { to_floats(vreinterpretq_s16_u16(vmovl_u8(ints)), out); }
FORCE_INLINE void times_u8(float d, uint8x8_t ints, float32x4_t out[2])
{
    to_floats_u8(ints, out);
    out[0] = vmulq_n_f32(out[0], d);
    out[1] = vmulq_n_f32(out[1], d);
}

/* ---- blocks of 32: f16 d, [f16 m], [u32 fifth bits], 16 bytes of nibbles ---- */

/* The f16 of n blocks, 1 or 4. */
FORCE_INLINE float32x4_t load_f16s(const uint8_t *b, int n, int bytes)
{
    if (n == 1)
        return vdupq_n_f32(load_f16(b));
    uint16x4_t h = {load_u16(b), load_u16(b + bytes), load_u16(b + 2 * bytes), load_u16(b + 3 * bytes)};
    return vcvt_f32_f16(vreinterpret_f16_u16(h));
}

FORCE_INLINE void scale_d(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    *scale = load_f16s(b, n, bytes);
}
FORCE_INLINE void scale_d_m(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    *scale = load_f16s(b, n, bytes);
    *min = -load_f16s(b + 2, n, bytes);
}

FORCE_INLINE struct codes codes_Q4_0(const uint8_t *b, int i) { return nibbles(b + 2); }
FORCE_INLINE struct codes codes_Q4_1(const uint8_t *b, int i) { return nibbles(b + 4); }
FORCE_INLINE struct codes codes_Q5_0(const uint8_t *b, int i) { return fifth_bit(nibbles(b + 6), b + 2); }
FORCE_INLINE struct codes codes_Q5_1(const uint8_t *b, int i) { return fifth_bit(nibbles(b + 8), b + 4); }
FORCE_INLINE struct codes codes_Q8_0(const uint8_t *b, int i) { return load32(b + 2); }
FORCE_INLINE struct codes codes_IQ4_NL(const uint8_t *b, int i) { return nibbles_of(b + 2, vld1q_s8(iq4_values)); }
FORCE_INLINE struct codes codes_MXFP4(const uint8_t *b, int i) { return nibbles_of(b + 1, vld1q_s8(mxfp4_values)); }

#define scales_Q4_0 scale_d
#define scales_Q4_1 scale_d_m
#define scales_Q5_0 scale_d
#define scales_Q5_1 scale_d_m
#define scales_Q8_0 scale_d
#define scales_IQ4_NL scale_d

/* Blocks of 32 have all in their scales. */
#define factor_Q4_0 NULL
#define factor_Q4_1 NULL
#define factor_Q5_0 NULL
#define factor_Q5_1 NULL
#define factor_Q8_0 NULL
#define factor_IQ4_NL NULL
#define factor_MXFP4 NULL

/* MXFP4: a byte e, scale 2^(e - 128), as a float's bits. */
FORCE_INLINE void scales_MXFP4(const uint8_t *b, int n, int bytes, float32x4_t *scale, float32x4_t *min)
{
    uint32x4_t e = n == 1 ? vdupq_n_u32(b[0]) : (uint32x4_t){b[0], b[bytes], b[2 * bytes], b[3 * bytes]};
    uint32x4_t subnormal = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e));          /* of e = 0 and 1 */
    *scale = vreinterpretq_f32_u32(vbslq_u32(vcgtq_u32(e, vdupq_n_u32(1)), (e - 1) << 23, subnormal));
}

#endif
