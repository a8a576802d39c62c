/* Activations to int8, and tiles of 8 tokens for gemm, with NEON. */
#include <math.h>
#include <string.h>
#include "cpu/tile.h"
#include "cpu/kernel_table.h"
#include "transpose.h"

enum { LANES = 8 };

/* The greatest |x| of a group. As bits: integers order NaN above infinity above numbers. */
static inline uint32_t group_max(const float *x)
{
    uint32x4_t max = vdupq_n_u32(0);
    for (int i = 0; i < Q8_GROUP; i += 4)
        max = vmaxq_u32(max, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))));
    return vmaxvq_u32(max);
}

/* As in scalar/int8.c, to the bit. */
static inline float q8_scale(uint32_t max_bits, float *inverse)
{
    float max;
    memcpy(&max, &max_bits, sizeof max);
    int usable = max_bits < 0x7f800000 && max >= 0x1p-120f;
    *inverse = usable ? 127 / max : 0;
    return usable ? max / 127 : max_bits < 0x7f800000 ? 0 : NAN;
}

static inline int16x8_t round_8(const float *x, float inverse)
{
    int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), inverse));
    int32x4_t high = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), inverse));
    return vcombine_s16(vmovn_s32(low), vmovn_s32(high));
}

/* An inverse of 0 makes all q 0, as the conversion takes NaN, which is 0 times infinity, to 0. */
static void quantize(const float *x, int64_t k, struct q8_row out)
{
    for (int64_t i = 0; i < k; i += Q8_GROUP) {
        float inverse;
        out.scale[i / Q8_GROUP] = q8_scale(group_max(x + i), &inverse);
        for (int64_t j = i; j < i + Q8_GROUP; j += 16) {
            int8x16_t q = vcombine_s8(vmovn_s16(round_8(x + j, inverse)), vmovn_s16(round_8(x + j + 8, inverse)));
            vst1q_s8(out.q + j, q);
            out.sum[j / 16] = vaddlvq_s8(q);
        }
    }
}

static void pack_q8(struct q8_row rows, int n_tokens, int64_t k, struct q8_tile out)
{
    for (int64_t i = 0; i < k; i += 16)
        for (int t0 = 0; t0 < LANES; t0 += 4) {
            int32x4_t v[4];
            for (int t = 0; t < 4; t++)
                v[t] = t0 + t < n_tokens ? vreinterpretq_s32_s8(vld1q_s8(rows.q + (t0 + t) * k + i)) : vdupq_n_s32(0);
            transpose_4x4(v);
            for (int j = 0; j < 4; j++)
                vst1q_s32((int32_t *)(out.q + ((i / 4 + j) * LANES + t0) * 4), v[j]);
        }
    pack_scales(rows, n_tokens, k, LANES, out);
}

void fill_neon_quantize(struct kernels *table)
{
    table->lanes = LANES;
    table->quantize = quantize;
    table->pack_q8 = pack_q8;
}
