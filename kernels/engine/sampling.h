/* Choosing among many logits. */
#ifndef SUBBYTE_SAMPLING_H
#define SUBBYTE_SAMPLING_H
#include <stdint.h>

/* Ids of the k largest of x[n], largest first, equal ones by id; 1 <= k <= n. Nonzero, and nothing found, when an x is
 * NaN or +inf or all are -inf. */
int top_k(const float *x, int64_t n, int64_t k, int32_t *ids);

/* Index of a random one of the logits x[n], largest first. Of the probabilities exp(x[i] - x[0]) / total the first ones
 * that reach top_p together stay, and of these the ones that are at least min_p of the largest. Of what is left, all
 * with at least a share of `xtc` go but the last one (XTC; above 1: none). The pick is at `temperature` and falls on
 * the one that `uniform`, from [0, 1), points at; at temperature 0 on the first. */
int64_t sample(const float *x, int64_t n, double total, double top_p, double min_p, double xtc, double temperature,
               double uniform);

/* -inf for those of x[n] that may not be chosen: bit i % 32 of words[i / 32] is 1 for what may. 1 when a finite logit, or a
 * +inf or NaN, is left, else 0. */
int mask_logits(float *x, int64_t n, const uint32_t *words);

#endif
