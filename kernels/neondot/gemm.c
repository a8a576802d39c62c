/* Many tokens with NEON's dot products, which take four codes from a lane to all tokens. */
#include <arm_neon.h>
#include "int8.h"

#define PIECE static inline __attribute__((always_inline))

PIECE void products(const uint8_t *code, int8x16_t bias, const int8_t *q, int n, int32x4_t sum[2])
{
    #pragma GCC unroll 2
    for (int i = 0; i < n; i += 4, q += 128) {
        int8x16_t codes = vsubq_s8(vreinterpretq_s8_u8(vld1q_u8(code + 4 * i)), bias);
        #pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            sum[h] = vdotq_laneq_s32(sum[h], vld1q_s8(q + 16 * h), codes, 0);
            sum[h] = vdotq_laneq_s32(sum[h], vld1q_s8(q + 16 * h + 32), codes, 1);
            sum[h] = vdotq_laneq_s32(sum[h], vld1q_s8(q + 16 * h + 64), codes, 2);
            sum[h] = vdotq_laneq_s32(sum[h], vld1q_s8(q + 16 * h + 96), codes, 3);
        }
    }
}

#include "../neon/gemm.h"

void fill_neondot_gemm(struct kernels *table)
{
    table->gemm = gemm;
}
