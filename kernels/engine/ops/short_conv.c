/* Gated short convolution (LFM2): of the thirds b, c and u of a slot, c * convolution(b * u), element by element. */
#include "recurrent.h"

struct short_conv {
    int64_t width;              /* of the convolution */
    struct vector convolution;  /* [width][channels] */
};

/* A run of channels over the tokens of a segment. */
static void convolve_run(struct step *s, const struct op *op, const struct segment *seg, int64_t run, float *space)
{
    const struct short_conv *p = op->parameters;
    int64_t n_channels = s->plan->width[op->out[0]], stride = 3 * n_channels, first = run * RUN_CHANNELS, n = run_channels(run, n_channels);
    struct convolution convolution = {s->kernels, p->width, n_channels, p->convolution.data, NULL, 0};
    float *x = s->scratch->slot[op->in[0]] + seg->row * stride, *out = s->scratch->slot[op->out[0]] + seg->row * n_channels;
    for (int t = 0; t < seg->n; t++) {
        float *b = x + t * stride + first, *u = b + 2 * n_channels;
        for (int64_t i = 0; i < n; i++)
            b[i] *= u[i];
    }
    convolve_segment(&convolution, seg, x, stride, recurrent_state(op, seg->cache), first, n, space);
    for (int t = 0; t < seg->n; t++) {
        const float *m = x + t * stride + first, *c = m + n_channels;
        for (int64_t i = 0; i < n; i++)
            out[t * n_channels + first + i] = m[i] * c[i];
    }
}

static int run_short_conv(struct step *s, const struct op *op, struct team *team, int thread)
{
    return meet_segments(s, op, team, thread, n_runs(s->plan->width[op->out[0]]), convolve_run);
}

static struct scratch_need short_conv_need(const struct op *op, struct step_size size)
{
    const struct short_conv *p = op->parameters;
    return (struct scratch_need){.thread_floats = (p->width - 1) * RUN_CHANNELS};
}

static int64_t short_conv_state(const struct op *op)
{
    const struct short_conv *p = op->parameters;
    return convolution_floats(p->width, p->convolution.n / p->width);
}

static const char *check_short_conv(const struct plan *plan, const struct op *op)
{
    const struct short_conv *p = op->parameters;
    if (op->n_in != 1 || op->n_out != 1 || op->n_matrices != 0 || op->norm || plan->width[op->in[0]] != 3 * (int64_t)plan->width[op->out[0]])
        return "one slot into one of a third of its width";
    if (!is_convolution(p->convolution, p->width, plan->width[op->out[0]]))
        return "a convolution of 2 to 16 inputs of each channel";
    return NULL;
}

static const struct field fields[] = {FIELD(INT, short_conv, width), FIELD(VECTOR, short_conv, convolution), {0}};

const struct operation op_short_conv = {
    .name = "short_conv", .fields = fields, .parameter_bytes = sizeof(struct short_conv), .run = run_short_conv,
    .check = check_short_conv, .scratch = short_conv_need, .state_floats = short_conv_state,
};
