/* Tokens to lanes and back. */
#ifndef SUBBYTE_NEON_TRANSPOSE_H
#define SUBBYTE_NEON_TRANSPOSE_H
#include <arm_neon.h>

/* 4 x 4 dwords, in place. */
static inline __attribute__((always_inline)) void transpose_4x4(int32x4_t v[4])
{
    int64x2_t a = vreinterpretq_s64_s32(vtrn1q_s32(v[0], v[1])), b = vreinterpretq_s64_s32(vtrn2q_s32(v[0], v[1]));
    int64x2_t c = vreinterpretq_s64_s32(vtrn1q_s32(v[2], v[3])), d = vreinterpretq_s64_s32(vtrn2q_s32(v[2], v[3]));
    v[0] = vreinterpretq_s32_s64(vtrn1q_s64(a, c));
    v[1] = vreinterpretq_s32_s64(vtrn1q_s64(b, d));
    v[2] = vreinterpretq_s32_s64(vtrn2q_s64(a, c));
    v[3] = vreinterpretq_s32_s64(vtrn2q_s64(b, d));
}

#endif
