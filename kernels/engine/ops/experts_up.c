/* Routed experts, first half: hidden = activation(gate . x) * (up . x) of the experts that a token goes to, for x = rms_norm(src).
 *
 * One token: all chunks of all chosen experts are one parallel job, after which the threads meet once. */
#include <string.h>
#include "experts.h"

/* What it reads and writes. Z is the router's logits; the last of each are there if there is a shared expert. */
enum { X, Z, SHARED_GATE };
enum { HIDDEN, ROUTING, SHARED_HIDDEN };

static const struct experts_up *parameters(const struct op *op) { return op->parameters; }

/* Matrices of one feed-forward network: gate and up, or up alone, or both in one. */
static int n_matrices(const struct op *op)
{
    return op->n_out > SHARED_HIDDEN ? op->n_matrices / 2 : op->n_matrices;
}

static void choose(const struct step *s, const struct op *op, int row, float *memory, float *chosen)
{
    const float *z = s->scratch->slot[op->in[Z]] + (int64_t)row * s->plan->width[op->in[Z]];
    float shared = op->n_in > SHARED_GATE ? sigmoid(s->scratch->slot[op->in[SHARED_GATE]][row]) : 1;
    choose_experts(parameters(op), z, shared, memory, chosen);
}

/* The routing of all tokens into its slot; of one token, each thread makes the same. */
static int choose_all(struct step *s, const struct op *op, const float **chosen, struct team *team, int thread)
{
    const struct experts_up *p = op->parameters;
    float *mine = s->scratch->thread[thread].floats, *slot = s->scratch->slot[op->out[ROUTING]];
    int64_t width = routing_width(p->n_used);
    *chosen = slot;
    if (s->n_tokens > 1) {
        for (int64_t t; (t = next_chunk(team, thread, s->n_tokens)) >= 0;)
            choose(s, op, t, mine, slot + t * width);
        return team_barrier(team, thread);
    }
    *chosen = mine + 2 * p->n_expert;
    choose(s, op, 0, mine, mine + 2 * p->n_expert);
    if (thread == 0)
        memcpy(slot, *chosen, width * sizeof(float));
    return 0;
}

/* Gate, or what stands for it, and up of one group's expert. */
struct network {
    struct matrix gate, up;
    const float *gate_scale, *up_scale;
    int64_t n_ff;
};

static struct network network_of(const struct step *s, const struct op *op, const struct expert_group *g)
{
    const struct experts_up *p = op->parameters;
    int shared = g->expert == p->n_expert, n = n_matrices(op);
    const struct matrix *first = op->matrix + (shared ? n : 0), *last = first + n - 1;
    int64_t n_expert = shared ? 1 : p->n_expert, e = shared ? 0 : g->expert;
    int64_t n_ff = shared ? s->plan->width[op->out[SHARED_HIDDEN]] : s->plan->width[op->out[HIDDEN]] / p->n_used;
    int64_t up_at = p->fused && !shared ? n_ff : 0;
    return (struct network){
        .gate = expert_matrix(first, n_expert, e, 0, n_ff),
        .up = expert_matrix(last, n_expert, e, up_at, n_ff),
        .gate_scale = shared || !p->gate_scale.data ? NULL : p->gate_scale.data + e,
        .up_scale = shared || !p->up_scale.data ? NULL : p->up_scale.data + e,
        .n_ff = n_ff,
    };
}

/* The input of every group, ready. */
static int prepare_inputs(struct step *s, const struct op *op, struct routing *routing, struct team *team, int thread)
{
    int64_t stride = s->plan->width[op->in[X]];
    struct source x = {s->scratch->slot[op->in[X]], stride, NULL, op->norm, op->eps};
    struct input in = {.n_tokens = 1, .cols = stride};
    for (int i = 0; i < op->n_matrices; i++)
        add_need(s, &op->matrix[i].weight, &in);
    if (s->n_tokens == 1 && prepare(s, &x, &in, team, thread))
        return 1;
    for (struct expert_group *g = routing->group; g < routing->group + routing->n_groups; g++) {
        g->in = in;
        g->in.n_tokens = g->n;
        g->source = x;
        g->source.rows = g->token;
    }
    return s->n_tokens == 1 ? 0 : prepare_groups(s, routing, team, thread);
}

/* Rows row0 .. row0 + n - 1 of a group's hidden values, into their slot. */
static void run_chunk(struct step *s, const struct op *op, const struct expert_group *g, const struct network *net, int64_t row0, int n,
                      int thread)
{
    int shared = g->expert == parameters(op)->n_expert;
    float *up = s->scratch->thread[thread].out, *gate = up + g->n * n;
    float *hidden = s->scratch->slot[op->out[shared ? SHARED_HIDDEN : HIDDEN]] + row0;
    multiply_expert(s, &net->up, net->up_scale, row0, n, &g->in, thread, up);
    if (net->gate.weight.data == net->up.weight.data)
        gate = up;
    else
        multiply_expert(s, &net->gate, net->gate_scale, row0, n, &g->in, thread, gate);
    for (int t = 0; t < g->n; t++)
        activate(s->kernels, parameters(op)->activation, gate + t * n, up + t * n, n, hidden + g->pair[t] * net->n_ff);
}

static int run_experts_up(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct experts_up *p = op->parameters;
    const float *chosen;
    struct routing routing;
    if (choose_all(s, op, &chosen, team, thread))
        return 1;
    float *memory = s->scratch->thread[thread].floats + 2 * p->n_expert + (routing_width(p->n_used) + 15) / 16 * 16;
    group_by_expert(chosen, s->n_tokens, p->n_expert, p->n_used, op->n_out > SHARED_HIDDEN, memory, &routing);
    if (s->scratch->reads_ahead && is_small_batch(s->n_tokens))
        read_ahead(s->plan, op, p->fused ? 1 : n_matrices(op), &routing, team, thread);
    if (prepare_inputs(s, op, &routing, team, thread))
        return 1;
    int64_t n_tasks = 0;
    for (struct expert_group *g = routing.group; g < routing.group + routing.n_groups; g++) {
        struct network net = network_of(s, op, g);
        int64_t rows = chunk_rows(s, &net.up.weight, g->n);
        g->end = n_tasks += (net.n_ff + rows - 1) / rows;
    }
    for (int64_t task; (task = next_chunk(team, thread, n_tasks)) >= 0;) {
        const struct expert_group *g = group_of(&routing, &task);
        struct network net = network_of(s, op, g);
        int64_t rows = chunk_rows(s, &net.up.weight, g->n), row0 = task * rows;
        run_chunk(s, op, g, &net, row0, net.n_ff - row0 < rows ? net.n_ff - row0 : rows, thread);
    }
    return team_barrier(team, thread);
}

static struct scratch_need experts_up_need(const struct op *op, struct step_size size)
{
    const struct experts_up *p = op->parameters;
    int64_t cols = op->matrix[0].weight.cols;
    return (struct scratch_need){
        .thread_floats = 2 * p->n_expert + routing_width(p->n_used) + 16 + routing_floats(p->n_expert, p->n_used, size.n_batch),
        .prepared = prepared_values(p->n_expert, p->n_used, cols, size) + (size.n_batch + size.lanes) * cols,
    };
}

static const char *check_experts_up(const struct plan *plan, const struct op *op)
{
    const struct experts_up *p = op->parameters;
    int shared = op->n_out > SHARED_HIDDEN, n = n_matrices(op);
    if (op->n_in < 2 || op->n_in > 2 + shared || op->n_out < 2 || op->n_out > 3 || n < 1 || n > 2 || op->n_matrices != n * (1 + shared))
        return "x and the router's logits into hidden values and routing, and a matrix or two for each";
    if (p->n_expert < 1 || p->n_expert > MAX_EXPERTS || p->n_used < 1 || p->n_used > p->n_expert)
        return "1 to n_expert experts used";
    if (p->n_group < 1 || p->n_expert % p->n_group || p->n_group_used < 1 || p->n_group_used > p->n_group ||
        p->n_expert / p->n_group * p->n_group_used < p->n_used)
        return "groups of as many experts, with enough in those that are used";
    if (plan->width[op->in[Z]] != p->n_expert || plan->width[op->out[ROUTING]] != routing_width(p->n_used) ||
        plan->width[op->out[HIDDEN]] % p->n_used)
        return "slots of n_expert logits, n_used rows of hidden values, 2 n_used + 1 numbers of routing";
    if (op->n_in > SHARED_GATE && plan->width[op->in[SHARED_GATE]] != 1)
        return "one number for the shared expert's gate";
    int64_t n_ff = plan->width[op->out[HIDDEN]] / p->n_used, rows = (p->fused ? 2 : 1) * n_ff * p->n_expert;
    for (int i = 0; i < op->n_matrices; i++)
        if (!matrix_fits(plan, op, i, i < n ? rows : plan->width[op->out[SHARED_HIDDEN]]))
            return "matrices from the width of x to n_ff rows of each expert";
    const struct vector *vectors[] = {&p->selection_bias, &p->gate_scale, &p->up_scale};
    for (int i = 0; i < 3; i++)
        if (vectors[i]->data && vectors[i]->n != p->n_expert)
            return "vectors of n_expert values";
    return p->fused && n != 2 ? "gate and up in one matrix given twice" : NULL;
}

static const struct field fields[] = {
    FIELD(INT, experts_up, n_expert),
    FIELD(INT, experts_up, n_used),
    CHOICE(experts_up, gating, "softmax sigmoid softmax_of_chosen"),
    FIELD(INT, experts_up, n_group),
    FIELD(INT, experts_up, n_group_used),
    FIELD(INT, experts_up, renormalize),
    FIELD(FLOAT, experts_up, weights_scale),
    FIELD(VECTOR, experts_up, selection_bias),
    CHOICE(experts_up, activation, ACTIVATIONS),
    FIELD(INT, experts_up, fused),
    FIELD(VECTOR, experts_up, gate_scale),
    FIELD(VECTOR, experts_up, up_scale),
    {0},
};

const struct operation op_experts_up = {
    .name = "experts_up", .fields = fields, .parameter_bytes = sizeof(struct experts_up), .run = run_experts_up,
    .check = check_experts_up, .scratch = experts_up_need,
};
