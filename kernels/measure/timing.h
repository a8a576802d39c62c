/* For benchmarks: kernels run again and again by themselves, in seconds of the calling thread's processor time. */
#ifndef SUBBYTE_TIMING_H
#define SUBBYTE_TIMING_H
#include "engine/plan.h"

/* out[t * w->rows + r] = W[r] . x[t] for x [n_tokens][w->cols], `repeat` times, by the code path that a step of one thread takes. Making
 * the input ready is not timed. 0, ENOMEM, or what pool_run answers. */
int time_product(const struct kernels *kernels, const struct weight *w, const float *x, int n_tokens, int64_t repeat, float *out,
                 double *seconds);
/* Every row of w unpacked, `repeat` times, a panel in the place of the one before. 0 or ENOMEM. */
int time_unpack(const struct kernels *kernels, const struct weight *w, int64_t repeat, double *seconds);
/* n cycles of a core: that many additions, each waiting for the one before. */
double time_cycles(int64_t n);

#endif
