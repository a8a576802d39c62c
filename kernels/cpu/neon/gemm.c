/* Many tokens with NEON: bytes are multiplied to 16 bits, where two products fit (2 x 128 x 127), and added in pairs. */
#include <arm_neon.h>
#include <string.h>
#include "cpu/kernel_table.h"

#define FORCE_INLINE static inline __attribute__((always_inline))

enum { ROWS = 1 };    /* the activations of more do not fit into the registers */

/* Four codes for every token. */
FORCE_INLINE int8x16_t broadcast(int8x16_t codes, int four)
{
    return vreinterpretq_s8_s32(vdupq_n_s32(vreinterpretq_s32_s8(codes)[four]));
}

/* w and v are four codes each, x and y the activations of four tokens there: two tokens' sums of two products. */
FORCE_INLINE int16x8_t low_products(int8x16_t w, int8x16_t x, int8x16_t v, int8x16_t y)
{
    return vmlal_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), vget_low_s8(v), vget_low_s8(y));
}
FORCE_INLINE int16x8_t high_products(int8x16_t w, int8x16_t x, int8x16_t v, int8x16_t y)
{
    return vmlal_high_s8(vmull_high_s8(w, x), v, y);
}

/* A token's sum grows in two lanes, which are added at the end. */
FORCE_INLINE void products(const uint8_t *code, int64_t k, int n_rows, int8x16_t bias, const int8_t *q, int n,
                    int32x4_t product[ROWS][2])
{
    int32x4_t low[2], high[2];
    #pragma GCC unroll 4
    for (int i = 0; i < n; i += 8) {
        int8x16_t codes = vsubq_s8(vreinterpretq_s8_u8(vld1q_u8(code + i / 16 * 16)), bias);
        int8x16_t w = broadcast(codes, i / 4 % 4), v = broadcast(codes, i / 4 % 4 + 1);
        #pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            int8x16_t x = vld1q_s8(q + 8 * i + 16 * h), y = vld1q_s8(q + 8 * i + 32 + 16 * h);
            int16x8_t l = low_products(w, x, v, y), u = high_products(w, x, v, y);
            low[h] = i == 0 ? vpaddlq_s16(l) : vpadalq_s16(low[h], l);
            high[h] = i == 0 ? vpaddlq_s16(u) : vpadalq_s16(high[h], u);
        }
    }
    for (int h = 0; h < 2; h++)
        product[0][h] = vpaddq_s32(low[h], high[h]);
}

#include "gemm_template.h"

void fill_neon_gemm(struct kernels *table)
{
    table->gemm = gemm;
    memset(table->fold, 0, sizeof table->fold);    /* a folded code less its bias may be 128 */
}
