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

/* What is done with one unit of a segment; space: the thread's own. */
typedef void meet(struct step *s, const struct op *op, const struct segment *seg, int64_t unit, float *space);

/* All n units of an operation meet all segments, each unit on its own thread; ends with a barrier and returns its answer. */
static inline int meet_segments(struct step *s, const struct op *op, struct team *team, int thread, int64_t n, meet *meet)
{
    int64_t last = first_unit(team, thread + 1, n);
    for (int64_t unit = first_unit(team, thread, n); unit < last && !team_cancelled(team, thread); unit++)
        for (int g = 0; g < s->n_segments; g++)
            meet(s, op, &s->segment[g], unit, s->scratch->thread[thread].floats);
    return team_barrier(team, thread);
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

/* How many channels run number `run` of n_channels has, from run * RUN_CHANNELS on; and how many runs there are. */
static inline int64_t run_channels(int64_t run, int64_t n_channels)
{
    int64_t left = n_channels - run * RUN_CHANNELS;
    return left < RUN_CHANNELS ? left : RUN_CHANNELS;
}
static inline int64_t n_runs(int64_t n_channels) { return (n_channels + RUN_CHANNELS - 1) / RUN_CHANNELS; }

/* Whether weights are those of a convolution of `width` inputs. */
static inline int is_convolution(struct vector weights, int64_t width, int64_t n_channels)
{
    return width >= 2 && width <= MAX_CONVOLUTION && weights.n == width * n_channels;
}

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
