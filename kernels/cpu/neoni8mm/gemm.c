/* Many tokens with NEON's matrix products (ARMv8.6 i8mm), two tokens times two rows, eight codes at a time. */
#include <arm_neon.h>
#include "cpu/tile.h"
#include "cpu/kernel_table.h"

#define FORCE_INLINE static inline __attribute__((always_inline))

enum { ROWS = 4 };

/* The halves of two vectors that hold the same codes of two rows. */
FORCE_INLINE int8x16_t first_8(int8x16_t a, int8x16_t b)
{
    return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}
FORCE_INLINE int8x16_t second_8(int8x16_t a, int8x16_t b)
{
    return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

/* Two rows, codes a and b. A matrix product holds: token 0 row 0, token 0 row 1, token 1 row 0, token 1 row 1. */
FORCE_INLINE void products_of_2(const uint8_t *a, const uint8_t *b, int8x16_t bias, const int8_t *q, int n, int32x4_t product[2][2])
{
    int32x4_t sum[4] = {{0}, {0}, {0}, {0}};
    #pragma GCC unroll 2
    for (int i = 0; i < n; i += 16) {
        int8x16_t row0 = vsubq_s8(vreinterpretq_s8_u8(vld1q_u8(a + i)), bias);
        int8x16_t row1 = vsubq_s8(vreinterpretq_s8_u8(vld1q_u8(b + i)), bias);
        #pragma GCC unroll 4
        for (int t = 0; t < 4; t++) {
            sum[t] = vmmlaq_s32(sum[t], vld1q_s8(q + 8 * i + 16 * t), first_8(row0, row1));
            sum[t] = vmmlaq_s32(sum[t], vld1q_s8(q + 8 * i + 64 + 16 * t), second_8(row0, row1));
        }
    }
    for (int h = 0; h < 2; h++) {
        product[0][h] = vuzp1q_s32(sum[2 * h], sum[2 * h + 1]);
        product[1][h] = vuzp2q_s32(sum[2 * h], sum[2 * h + 1]);
    }
}

FORCE_INLINE void products(const uint8_t *code, int64_t k, int n_rows, int8x16_t bias, const int8_t *q, int n,
                    int32x4_t product[ROWS][2])
{
    if (n_rows == 1) {
        products_of_2(code, code, bias, q, n, product);    /* twice the same row: no more work than one */
        return;
    }
    products_of_2(code, code + k, bias, q, n, product);
    products_of_2(code + 2 * k, code + 3 * k, bias, q, n, product + 2);
}

#include "cpu/neon/gemm_template.h"

/* [k / 8][lanes][8] */
static void pack_q8(struct q8_row rows, int n_tokens, int64_t k, struct q8_tile out)
{
    for (int t = 0; t < LANES; t++)
        for (int64_t i = 0; i < k / 8; i++)
            vst1_s8(out.q + (i * LANES + t) * 8, t < n_tokens ? vld1_s8(rows.q + t * k + 8 * i) : vdup_n_s8(0));
    pack_scales(rows, n_tokens, k, LANES, out);
}

void fill_neoni8mm_gemm(struct kernels *table)
{
    table->pack_q8 = pack_q8;
    table->gemm = gemm;
}
