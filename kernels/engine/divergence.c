#include "divergence.h"
#include <math.h>
#include "threads/pool.h"

static int32_t first_of(const float *x, int64_t n, float wanted)
{
    for (int64_t i = 0; i < n; i++)
        if (x[i] == wanted)
            return (int32_t)i;
    return 0;
}

/* The log of the sum of exponentials of a row, and which is the greatest. */
static double log_sum(const struct kernels *k, const float *x, int64_t n, int32_t *top)
{
    float max;
    double sum;
    k->max_sum_exp(x, n, &max, &sum);
    *top = first_of(x, n, max);
    return max + log(sum);
}

static void run_rows(struct team *team, int thread, void *arg)
{
    struct comparison *c = arg;
    for (int64_t row; (row = next_chunk(team, thread, c->n_rows)) >= 0;) {
        const float *p = c->p + row * c->n_vocab, *q = c->q + row * c->n_vocab;
        double sum_p = log_sum(c->kernels, p, c->n_vocab, &c->top_p[row]);
        double sum_q = log_sum(c->kernels, q, c->n_vocab, &c->top_q[row]);
        if (c->p_is_log)
            sum_p = 0;
        c->log_p[row] = p[c->wanted[row]] - sum_p;
        c->log_q[row] = q[c->wanted[row]] - sum_q;
        double sums[3];
        c->kernels->divergence(p, sum_p, q, sum_q, c->n_vocab, sums);
        c->divergence[row] = sums[0];
        c->reverse[row] = sums[1];
        c->common[row] = fmin(sums[2], 1); /* equal distributions have 1, but for the rounding of their logarithms */
    }
    team_barrier(team, thread);
}

int compare_rows(struct comparison *c, int n_threads, int (*poll)(void *), void *poll_arg)
{
    return pool_run(n_threads, run_rows, c, poll, poll_arg);
}
