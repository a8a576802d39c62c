/* What operations with a recurrent state share. Their units, heads or runs of channels, are independent of each other, and a unit is
 * always the same thread's: its state then stays in the caches of that thread's core. */
#ifndef SUBBYTE_RECURRENT_H
#define SUBBYTE_RECURRENT_H
#include "engine/operation.h"

/* Channels of a run that is convolved at a time, and inputs that a convolution sees of each at most. */
enum { RUN_CHANNELS = 64, MAX_CONVOLUTION = 16 };

/* Which of n units are a thread's: from first_unit of its number to that of the next. */
static inline int64_t first_unit(const struct team *team, int thread, int64_t n)
{
    return n * thread / team_size(team);
}

/* A causal depthwise convolution of channels that lie one after the other: an output is made of the last `width` inputs of its channel,
 * those of the width - 1 tokens before the segment from the state [width - 1][n_channels], oldest first. */
struct convolution {
    const struct kernels *kernels;
    int64_t width, n_channels;
    const float *weight, *bias; /* [width][n_channels], the oldest input's first; [n_channels] or NULL */
    int silu;                   /* whether outputs go through SiLU */
};

/* Convolves n channels from `first` on of a segment in place, and puts its last inputs into the state. x: all channels of its first token.
 * space: (width - 1) * n floats. */
void convolve_segment(const struct convolution *c, const struct segment *seg, float *x, int64_t stride, float *state, int64_t first,
                      int64_t n, float *space);

/* Floats that a convolution keeps, so rounded that what lies behind is aligned. */
static inline int64_t convolution_floats(int64_t width, int64_t n_channels)
{
    return ((width - 1) * n_channels + 15) / 16 * 16;
}

/* log(1 + exp(x)) */
static inline float softplus(float x)
{
    return x > 20 ? x : log1pf(expf(x));
}

#endif
