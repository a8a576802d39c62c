/* Two models' next-token distributions, row by row: how far apart they are and what each makes of the token that came. */
#ifndef SUBBYTE_DIVERGENCE_H
#define SUBBYTE_DIVERGENCE_H
#include "cpu/kernel_table.h"

struct comparison {
    const struct kernels *kernels;
    const float *p, *q;         /* [n_rows][n_vocab] logits of the base and of the other */
    int p_is_log;               /* p are log-probabilities, which need not sum to 1: they were clipped */
    const int32_t *wanted;      /* [n_rows]: the token that came */
    int64_t n_rows, n_vocab;
    /* results, [n_rows] */
    double *log_p, *log_q;      /* log-probabilities of the wanted token */
    double *divergence;         /* KL(p || q), nats */
    double *reverse;            /* KL(q || p), nats */
    double *common;             /* sum of min(p, q), 1 at most */
    int32_t *top_p, *top_q;     /* the likeliest token; of equal ones the first */
};

/* 0, POOL_CANCELLED or an errno. */
int compare_rows(struct comparison *c, int n_threads, int (*poll)(void *), void *poll_arg);

#endif
