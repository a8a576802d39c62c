/* Mamba-2 (Dao and Gu, 2024) between its projections: linear attention whose state forgets by a gate.
 *
 * Of a slot [z | x | B | C | dt], x with B and C go through a short convolution with SiLU. Of head h, in group g, with
 * dt = softplus(dt + bias): S = e^{a dt} S + B_g (dt x)^T; y = S^T C_g + skip x, times SiLU(z). Then y is normed group by group. */
#include "recurrent.h"

struct mamba2 {
    int64_t n_heads, head_dim, n_groups, n_keys; /* n_keys: the length of B and of C */
    int64_t width;              /* of the convolution */
    float group_eps;
    struct vector convolution, bias; /* [width][channels], [channels] or none */
    struct vector a, dt, skip;  /* [n_heads]: a is negative */
    struct vector group_norm;   /* [n_heads * head_dim], RMSNorm of each of n_groups runs; or none */
};

static int64_t n_inner(const struct mamba2 *p) { return p->n_heads * p->head_dim; }
static int64_t n_channels(const struct mamba2 *p) { return n_inner(p) + 2 * p->n_groups * p->n_keys; }
static int64_t n_in(const struct mamba2 *p) { return n_inner(p) + n_channels(p) + p->n_heads; }

static float *inputs(const struct step *s, const struct op *op, int row)
{
    return s->scratch->slot[op->in[0]] + row * n_in(op->parameters);
}

static void convolve_run(struct step *s, const struct op *op, const struct segment *seg, int64_t run, float *space)
{
    const struct mamba2 *p = op->parameters;
    struct convolution c = {s->kernels, p->width, n_channels(p), p->convolution.data, p->bias.data, 1};
    convolve_segment(&c, seg, inputs(s, op, seg->row) + n_inner(p), n_in(p), recurrent_state(op, seg->cache), run * RUN_CHANNELS,
                     run_channels(run, c.n_channels), space);
}

/* The state of head h meets the tokens of a segment. gates: 2 * seg->n floats. */
static void attend_head(struct step *s, const struct op *op, const struct segment *seg, int64_t h, float *gates)
{
    const struct mamba2 *p = op->parameters;
    int64_t group = h / (p->n_heads / p->n_groups);
    float *decay = gates, *rate = gates + seg->n, *out = s->scratch->slot[op->out[0]] + seg->row * n_inner(p) + h * p->head_dim;
    const float *z = inputs(s, op, seg->row) + h * p->head_dim, *x = z + n_inner(p);
    const float *b = inputs(s, op, seg->row) + 2 * n_inner(p) + group * p->n_keys;
    for (int t = 0; t < seg->n; t++) {
        rate[t] = softplus(inputs(s, op, seg->row + t)[n_inner(p) + n_channels(p) + h] + p->dt.data[h]);
        decay[t] = expf(p->a.data[h] * rate[t]);
    }
    struct linear_head head = {
        .n_keys = p->n_keys, .n_values = p->head_dim, .n_tokens = seg->n, .delta = 0, .q = b + p->n_groups * p->n_keys, .k = b, .v = x,
        .qk_stride = n_in(p), .v_stride = n_in(p), .decay = decay, .rate = rate, .out = out, .out_stride = n_inner(p),
    };
    s->kernels->linear_attention(&head, recurrent_state(op, seg->cache) + convolution_floats(p->width, n_channels(p))
                                            + h * head_state_floats(p->n_keys, p->head_dim));
    for (int t = 0; t < seg->n; t++, out += n_inner(p), x += n_in(p), z += n_in(p)) {
        for (int64_t i = 0; i < p->head_dim; i++)
            out[i] += p->skip.data[h] * x[i];
        s->kernels->silu_mul(z, out, p->head_dim, out);
    }
}

static int run_mamba2(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct mamba2 *p = op->parameters;
    int cancelled = meet_segments(s, op, team, thread, n_runs(n_channels(p)), convolve_run)
                 || meet_segments(s, op, team, thread, p->n_heads, attend_head);
    if (cancelled || !p->group_norm.data)
        return cancelled;
    int64_t n = n_inner(p) / p->n_groups;
    for (int64_t row; (row = next_chunk(team, thread, s->n_tokens)) >= 0;)
        for (int64_t i = 0; i < n_inner(p); i += n) {
            float *y = s->scratch->slot[op->out[0]] + row * n_inner(p) + i;
            s->kernels->rms_norm(y, p->group_norm.data + i, n, p->group_eps, y);
        }
    return team_barrier(team, thread);
}

static struct scratch_need mamba2_need(const struct op *op, struct step_size size)
{
    const struct mamba2 *p = op->parameters;
    int64_t kept = (p->width - 1) * RUN_CHANNELS, gates = 2 * (int64_t)size.n_batch;
    return (struct scratch_need){.thread_floats = kept > gates ? kept : gates};
}

static int64_t mamba2_state(const struct op *op)
{
    const struct mamba2 *p = op->parameters;
    return convolution_floats(p->width, n_channels(p)) + p->n_heads * head_state_floats(p->n_keys, p->head_dim);
}

static const char *check_mamba2(const struct plan *plan, const struct op *op)
{
    const struct mamba2 *p = op->parameters;
    if (op->n_in != 1 || op->n_out != 1 || op->n_matrices != 0 || op->norm)
        return "one slot into one";
    int64_t width = plan->width[op->in[0]];
    if (p->n_groups < 1 || p->n_heads < 1 || p->n_heads % p->n_groups || p->n_heads > width)
        return "as many heads for every group";
    if (p->head_dim < 1 || p->head_dim > width || p->n_keys < 1 || p->n_keys > width || n_in(p) != width)
        return "a slot of z, x, B, C and dt";
    if (plan->width[op->out[0]] != n_inner(p))
        return "n_heads heads in the slot that it writes";
    if (!is_convolution(p->convolution, p->width, n_channels(p)) || (p->bias.data && p->bias.n != n_channels(p)))
        return "a convolution of 2 to 16 inputs of each channel";
    if (p->a.n != p->n_heads || p->dt.n != p->n_heads || p->skip.n != p->n_heads)
        return "a, dt and skip of n_heads values";
    if (p->group_norm.data && p->group_norm.n != n_inner(p))
        return "a norm of all heads";
    return NULL;
}

static const struct field fields[] = {
    FIELD(INT, mamba2, n_heads),
    FIELD(INT, mamba2, head_dim),
    FIELD(INT, mamba2, n_groups),
    FIELD(INT, mamba2, n_keys),
    FIELD(INT, mamba2, width),
    FIELD(FLOAT, mamba2, group_eps),
    FIELD(VECTOR, mamba2, convolution),
    FIELD(VECTOR, mamba2, bias),
    FIELD(VECTOR, mamba2, a),
    FIELD(VECTOR, mamba2, dt),
    FIELD(VECTOR, mamba2, skip),
    FIELD(VECTOR, mamba2, group_norm),
    {0},
};

const struct operation op_mamba2 = {
    .name = "mamba2", .fields = fields, .parameter_bytes = sizeof(struct mamba2), .run = run_mamba2, .check = check_mamba2,
    .scratch = mamba2_need, .state_floats = mamba2_state,
};
