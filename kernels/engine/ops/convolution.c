/* Causal depthwise convolution over the tokens of a segment. */
#include <string.h>
#include "recurrent.h"

/* Inputs of token t from channel `first` on; tokens below 0 are those before the segment. */
static float *inputs(const struct convolution *c, float *x, int64_t stride, float *state, int64_t first, int64_t t)
{
    return first + (t >= 0 ? x + t * stride : state + (c->width - 1 + t) * c->n_channels);
}

/* From the last token backwards, so that an output replaces an input that no later token needs. */
void convolve_segment(const struct convolution *c, const struct segment *seg, float *x, int64_t stride, float *state, int64_t first,
                      int64_t n, float *space)
{
    int64_t kept = c->width - 1;
    for (int64_t j = 0; j < kept; j++)
        memcpy(space + j * n, inputs(c, x, stride, state, first, seg->n - kept + j), n * sizeof *space);
    for (int64_t t = seg->n - 1; t >= 0; t--) {
        const float *row[MAX_CONVOLUTION];
        for (int64_t j = 0; j < c->width; j++)
            row[j] = inputs(c, x, stride, state, first, t - kept + j);
        float *out = x + t * stride + first;
        c->kernels->convolve(row, c->width, c->weight + first, c->n_channels, c->bias ? c->bias + first : NULL, n, out);
        if (c->silu)
            c->kernels->sigmoid_mul(out, out, n, out);
    }
    for (int64_t j = 0; j < kept; j++)
        memcpy(state + j * c->n_channels + first, space + j * n, n * sizeof *space);
}
