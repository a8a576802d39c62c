/* Many tokens with NEON: bytes are multiplied to 16 bits, where two products fit (2 x 128 x 127), and added in pairs. */
#include <arm_neon.h>
#include "int8.h"

#define PIECE static inline __attribute__((always_inline))

/* Four codes for every token. */
PIECE int8x16_t broadcast(int8x16_t codes, int four) { return vreinterpretq_s8_s32(vdupq_n_s32(vreinterpretq_s32_s8(codes)[four])); }

/* A sum of two neighbouring products in each lane: two lanes a token. */
PIECE void products(const uint8_t *code, int8x16_t bias, const int8_t *q, int n, int32x4_t sum[2])
{
    int32x4_t pairs[4] = {{0}, {0}, {0}, {0}};
    #pragma GCC unroll 8
    for (int i = 0; i < n; i += 2) {
        int8x16_t codes = vsubq_s8(vreinterpretq_s8_u8(vld1q_u8(code + i / 4 * 16)), bias);
        int8x16_t first = broadcast(codes, i % 4), second = broadcast(codes, i % 4 + 1);
        #pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            int8x16_t x = vld1q_s8(q + 32 * i + 16 * h), y = vld1q_s8(q + 32 * i + 32 + 16 * h);
            int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(x), vget_low_s8(first)), vget_low_s8(y), vget_low_s8(second));
            pairs[2 * h] = vpadalq_s16(pairs[2 * h], low);
            pairs[2 * h + 1] = vpadalq_s16(pairs[2 * h + 1], vmlal_high_s8(vmull_high_s8(x, first), y, second));
        }
    }
    for (int h = 0; h < 2; h++)
        sum[h] += vpaddq_s32(pairs[2 * h], pairs[2 * h + 1]);
}

#include "gemm.h"

void fill_neon_gemm(struct kernels *table)
{
    table->gemm = gemm;
}
