/* Gated delta net (Yang et al., 2024): linear attention whose state forgets by a gate, and learns of a value only what it does not give
 * for its key already.
 *
 * Queries, keys and values go through a short convolution with SiLU, and each query and key is brought to length 1 (queries then divided
 * by sqrt(head_dim)). Of a value head: S = e^{a softplus(alpha + dt)} S; d = sigmoid(beta) (v - S^T k); S += k d^T; out = S^T q, normed
 * and multiplied by SiLU(z). */
#include "recurrent.h"

struct delta_net {
    int64_t n_key_heads, n_heads, head_dim;
    int64_t order;              /* which key head a value head h has: h % n_key_heads, or h / (n_heads / n_key_heads) */
    int64_t width;              /* of the convolution */
    float head_eps;             /* of all norms */
    struct vector convolution;  /* [width][channels] */
    struct vector a, dt;        /* [n_heads]: a is negative */
    struct vector q_norm, k_norm; /* [head_dim]: RMSNorm with these is the length, and the queries' factor */
    struct vector head_norm;    /* [head_dim]: RMSNorm of each head's result */
};

/* The slots it reads: [queries | keys | values] of heads, which are changed in place; [n_heads][head_dim]; [n_heads] twice. */
enum { QKV, Z, BETA, ALPHA };
enum { TILED, GROUPED };

static int64_t n_channels(const struct delta_net *p)
{
    return (2 * p->n_key_heads + p->n_heads) * p->head_dim;
}

static float *slot_row(const struct step *s, int slot, int row)
{
    return s->scratch->slot[slot] + (int64_t)row * s->plan->width[slot];
}

/* Convolves head number `unit` of queries, keys and values, and norms it unless it is one of the values. */
static void convolve_head(struct step *s, const struct op *op, const struct segment *seg, int64_t unit, float *space)
{
    const struct delta_net *p = op->parameters;
    struct convolution c = {s->kernels, p->width, n_channels(p), p->convolution.data, NULL, 1};
    int64_t stride = s->plan->width[op->in[QKV]], first = unit * p->head_dim;
    float *x = slot_row(s, op->in[QKV], seg->row);
    convolve_segment(&c, seg, x, stride, recurrent_state(op, seg->cache), first, p->head_dim, space);
    if (unit >= 2 * p->n_key_heads)
        return;
    const float *norm = unit < p->n_key_heads ? p->q_norm.data : p->k_norm.data;
    for (int t = 0; t < seg->n; t++, x += stride)
        s->kernels->rms_norm(x + first, norm, p->head_dim, p->head_eps / p->head_dim, x + first);
}

/* The state of value head h meets the tokens of a segment. gates: 2 * seg->n floats. */
static void attend_head(struct step *s, const struct op *op, const struct segment *seg, int64_t h, float *gates)
{
    const struct delta_net *p = op->parameters;
    int64_t d = p->head_dim, key_head = p->order == TILED ? h % p->n_key_heads : h / (p->n_heads / p->n_key_heads);
    float *decay = gates, *rate = gates + seg->n, *out = slot_row(s, op->out[0], seg->row) + h * d;
    for (int t = 0; t < seg->n; t++) {
        decay[t] = expf(p->a.data[h] * softplus(slot_row(s, op->in[ALPHA], seg->row + t)[h] + p->dt.data[h]));
        rate[t] = sigmoid(slot_row(s, op->in[BETA], seg->row + t)[h]);
    }
    const float *qkv = slot_row(s, op->in[QKV], seg->row);
    struct linear_head head = {
        .n_keys = d, .n_values = d, .n_tokens = seg->n, .delta = 1, .q = qkv + key_head * d, .k = qkv + (p->n_key_heads + key_head) * d,
        .v = qkv + (2 * p->n_key_heads + h) * d, .qk_stride = n_channels(p), .v_stride = n_channels(p), .decay = decay, .rate = rate,
        .out = out, .out_stride = p->n_heads * d,
    };
    s->kernels->linear_attention(&head, recurrent_state(op, seg->cache) + convolution_floats(p->width, n_channels(p))
                                            + h * head_state_floats(d, d));
    for (int t = 0; t < seg->n; t++, out += p->n_heads * d) {
        s->kernels->rms_norm(out, p->head_norm.data, d, p->head_eps, out);
        s->kernels->silu_mul(slot_row(s, op->in[Z], seg->row + t) + h * d, out, d, out);
    }
}

static int run_delta_net(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct delta_net *p = op->parameters;
    return meet_segments(s, op, team, thread, 2 * p->n_key_heads + p->n_heads, convolve_head)
        || meet_segments(s, op, team, thread, p->n_heads, attend_head);
}

static struct scratch_need delta_net_need(const struct op *op, struct step_size size)
{
    const struct delta_net *p = op->parameters;
    int64_t inputs = (p->width - 1) * p->head_dim, gates = 2 * (int64_t)size.n_batch;
    return (struct scratch_need){.thread_floats = inputs > gates ? inputs : gates};
}

static int64_t delta_net_state(const struct op *op)
{
    const struct delta_net *p = op->parameters;
    return convolution_floats(p->width, n_channels(p)) + p->n_heads * head_state_floats(p->head_dim, p->head_dim);
}

static const char *check_delta_net(const struct plan *plan, const struct op *op)
{
    const struct delta_net *p = op->parameters;
    if (op->n_in != 4 || op->n_out != 1 || op->n_matrices != 0 || op->norm)
        return "queries with keys and values, gates of the result, of the values and of the state into one slot";
    if (p->n_key_heads < 1 || p->n_heads < 1 || p->n_heads % p->n_key_heads || p->head_dim < 1 || p->head_dim > plan->width[op->out[0]])
        return "as many value heads for every key head";
    if (p->n_heads > plan->width[op->out[0]] || plan->width[op->in[QKV]] != n_channels(p))
        return "a slot of n_key_heads queries and keys and n_heads values";
    if (plan->width[op->in[Z]] != p->n_heads * p->head_dim || plan->width[op->out[0]] != p->n_heads * p->head_dim)
        return "slots of n_heads heads for the gates of the result and the result";
    if (plan->width[op->in[BETA]] != p->n_heads || plan->width[op->in[ALPHA]] != p->n_heads)
        return "slots of n_heads for the gates of values and state";
    if (!is_convolution(p->convolution, p->width, n_channels(p)))
        return "a convolution of 2 to 16 inputs of each channel";
    if (p->a.n != p->n_heads || p->dt.n != p->n_heads)
        return "a and dt of n_heads values";
    if (p->q_norm.n != p->head_dim || p->k_norm.n != p->head_dim || p->head_norm.n != p->head_dim)
        return "norms of head_dim values";
    return NULL;
}

static const struct field fields[] = {
    FIELD(INT, delta_net, n_key_heads),
    FIELD(INT, delta_net, n_heads),
    FIELD(INT, delta_net, head_dim),
    CHOICE(delta_net, order, "tiled grouped"),
    FIELD(INT, delta_net, width),
    FIELD(FLOAT, delta_net, head_eps),
    FIELD(VECTOR, delta_net, convolution),
    FIELD(VECTOR, delta_net, a),
    FIELD(VECTOR, delta_net, dt),
    FIELD(VECTOR, delta_net, q_norm),
    FIELD(VECTOR, delta_net, k_norm),
    FIELD(VECTOR, delta_net, head_norm),
    {0},
};

const struct operation op_delta_net = {
    .name = "delta_net", .fields = fields, .parameter_bytes = sizeof(struct delta_net), .run = run_delta_net, .check = check_delta_net,
    .scratch = delta_net_need, .state_floats = delta_net_state,
};
