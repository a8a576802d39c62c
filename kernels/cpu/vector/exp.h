/* exp of a vector: the one for softmax, activations and log-sum-exp. */
#ifndef SUBBYTE_VECTOR_EXP_H
#define SUBBYTE_VECTOR_EXP_H
#include "vec.h"

/* x = n ln 2 + r with |r| <= ln 2 / 2; exp(r) is a polynomial whose minimax error is 2^-28. The result is within 1 ulp where it is a
 * normal number, infinity above 88.73, exactly 0 below -104, NaN for NaN. */
static inline vec v_exp(vec x)
{
    x = v_max(v_set(-104.0f), v_min(v_set(89.0f), x));
    vec n = v_round(v_mul(x, v_set(0x1.715476p+0f)));                  /* 1 / ln 2 */
    vec r = v_fma(n, v_set(-0x1.62e43p-1f), x);                        /* ln 2 in two parts */
    r = v_fma(n, v_set(0x1.05c61p-29f), r);
    vec p = v_fma(v_set(0x1.6a23cep-10f), r, v_set(0x1.123a2p-7f));
    p = v_fma(p, r, v_set(0x1.5558f2p-5f));
    p = v_fma(p, r, v_set(0x1.555492p-3f));
    p = v_fma(p, r, v_set(0x1.fffffcp-2f));
    p = v_fma(v_mul(r, r), p, r);
    return v_scale2(v_add(p, v_set(1.0f)), n);
}

/* The first n scores, and -infinity, which weighs nothing, in the lanes that are left. */
static inline vec v_load_scores(const float *p, int64_t n)
{
    return n >= VLANES ? v_load(p) : v_keep_lanes(v_load_n(p, n), 0, (int)n);
}

#endif
