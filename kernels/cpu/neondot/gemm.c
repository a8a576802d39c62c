/* Many tokens with NEON's dot products, which take four codes from a lane to all tokens. */
#include <arm_neon.h>
#include "cpu/kernel_table.h"

#define FORCE_INLINE static inline __attribute__((always_inline))

enum { ROWS = 4 };

FORCE_INLINE void products(const uint8_t *code, int64_t k, int n_rows, int8x16_t bias, const int8_t *q, int n,
                    int32x4_t product[ROWS][2])
{
    #pragma GCC unroll 4
    for (int r = 0; r < n_rows; r++)
        #pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            int32x4_t sum = vdupq_n_s32(0);
            #pragma GCC unroll 2
            for (int i = 0; i < n; i += 16) {
                int8x16_t codes = vsubq_s8(vreinterpretq_s8_u8(vld1q_u8(code + r * k + i)), bias);
                const int8_t *x = q + 8 * i + 16 * h;
                sum = vdotq_laneq_s32(sum, vld1q_s8(x), codes, 0);
                sum = vdotq_laneq_s32(sum, vld1q_s8(x + 32), codes, 1);
                sum = vdotq_laneq_s32(sum, vld1q_s8(x + 64), codes, 2);
                sum = vdotq_laneq_s32(sum, vld1q_s8(x + 96), codes, 3);
            }
            product[r][h] = sum;
        }
}

#include "cpu/neon/gemm_template.h"

void fill_neondot_gemm(struct kernels *table)
{
    table->gemm = gemm;
}
