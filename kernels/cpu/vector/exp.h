/* exp of a vector, the one for softmax, activations and log-sum-exp; and tanh, for soft caps. */
#ifndef SUBBYTE_VECTOR_EXP_H
#define SUBBYTE_VECTOR_EXP_H
#include "vec.h"

/* exp(r) - 1 and n of x = n ln 2 + r with |r| <= ln 2 / 2; it is a polynomial whose minimax error is 2^-28. */
static inline vec v_exp_part(vec x, vec *whole)
{
    vec n = v_round(v_mul(x, v_set(0x1.715476p+0f)));                  /* 1 / ln 2 */
    vec r = v_fma(n, v_set(-0x1.62e43p-1f), x);                        /* ln 2 in two parts */
    r = v_fma(n, v_set(0x1.05c61p-29f), r);
    vec p = v_fma(v_set(0x1.6a23cep-10f), r, v_set(0x1.123a2p-7f));
    p = v_fma(p, r, v_set(0x1.5558f2p-5f));
    p = v_fma(p, r, v_set(0x1.555492p-3f));
    p = v_fma(p, r, v_set(0x1.fffffcp-2f));
    *whole = n;
    return v_fma(v_mul(r, r), p, r);
}

/* Within 1 ulp where the result is a normal number, infinity above 88.73, exactly 0 below -104, NaN for NaN. */
static inline vec v_exp(vec x)
{
    vec n, part = v_exp_part(v_max(v_set(-104.0f), v_min(v_set(89.0f), x)), &n);
    return v_scale2(v_add(part, v_set(1.0f)), n);
}

/* e / (e + 2) with e = exp(2x) - 1, which keeps its digits where x is small; 1 is exact from 10 on. */
static inline vec v_tanh(vec x)
{
    vec n, part = v_exp_part(v_max(v_set(-20.0f), v_min(v_set(20.0f), v_add(x, x))), &n);
    vec e = v_add(v_scale2(part, n), v_sub(v_scale2(v_set(1.0f), n), v_set(1.0f)));
    return v_div(e, v_add(e, v_set(2.0f)));
}

/* n_vectors vectors of scores, each cap * tanh(score / cap). */
static inline void v_soften(float *scores, int n_vectors, float cap)
{
    for (float *end = scores + n_vectors * VLANES; scores < end; scores += VLANES)
        v_store(scores, v_mul(v_tanh(v_mul(v_load(scores), v_set(1 / cap))), v_set(cap)));
}

/* The first n scores, and -infinity, which weighs nothing, in the lanes that are left. */
static inline vec v_load_scores(const float *p, int64_t n)
{
    return n >= VLANES ? v_load(p) : v_keep_lanes(v_load_n(p, n), 0, (int)n);
}

#endif
