/* Choosing among many logits. */
#ifndef SUBBYTE_SAMPLING_H
#define SUBBYTE_SAMPLING_H
#include <stdint.h>
#include "cpu/kernel_table.h"

/* Ids of the k largest of x[n], largest first, equal ones by id; 1 <= k <= n. Nonzero, and nothing found, when an x is
 * NaN or +inf or all are -inf. */
int top_k(const float *x, int64_t n, int64_t k, int32_t *ids);

/* Log-probabilities of ids[n_ids] under the softmax of the logits x[n], which are finite as top_k has found; the bits of lm_head's. */
void log_softmax_of(const struct kernels *kernels, const float *x, int64_t n, const int32_t *ids, int64_t n_ids, float *logprobs);

/* How a token is drawn. Of the logits the top_k largest stay (0: all); of the probabilities among these the first ones that reach
 * top_p together, and of those the ones that are at least min_p of the largest. Of what is left, all with at least a share of `xtc`
 * go but the last one (XTC; above 1: none). The pick is at `temperature` and falls on the one that `uniform`, from [0, 1), points
 * at; at temperature 0 on the first. */
struct draw {
    double temperature, top_p, min_p, xtc, uniform;
    int64_t top_k;
};

enum { DRAW_NOT_FINITE = -1, DRAW_NO_MEMORY = -2 };

/* A token for each row of logits, by several threads. */
struct draws {
    const struct kernels *kernels;
    int64_t n_rows, n_vocab;
    const float **row;          /* [n_rows], each [n_vocab] */
    const struct draw *how;     /* [n_rows] */
    int32_t *token;             /* [n_rows]: the result; below zero, of this row alone, see above. NOT_FINITE: as for top_k */
};

int draw_rows(struct draws *draws, int n_threads, int (*poll)(void *), void *poll_arg);

/* -inf for those of x[n] that may not be chosen: bit i % 32 of words[i / 32] is 1 for what may. 1 when a finite logit, or a
 * +inf or NaN, is left, else 0. */
int mask_logits(float *x, int64_t n, const uint32_t *words);

#endif
