/* The logarithm of a sum of exponentials, in the order of cpu/order.h: for log-probabilities of logits that are there, and of those
 * that lm_head makes a panel at a time and does not keep. Both are the same bits. */
#ifndef SUBBYTE_LOG_SUM_H
#define SUBBYTE_LOG_SUM_H
#include <math.h>

enum { VOCABULARY_CHUNK = 1024 };   /* logits, in panels of PANEL_ROWS; the sums of chunks are merged in order */

/* sum: of exp(x - max). Nothing so far: {-INFINITY, 0}. */
struct log_sum {
    float max;
    double sum;
};

static inline void log_sum_add(struct log_sum *to, struct log_sum other)
{
    if (other.max > to->max) {
        to->sum = to->sum * exp((double)to->max - other.max) + other.sum;
        to->max = other.max;
    } else {
        to->sum += other.sum * exp((double)other.max - to->max);
    }
}

static inline float log_probability(float logit, struct log_sum of)
{
    return (float)(logit - of.max - log(of.sum));
}

#endif
