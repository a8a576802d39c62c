/* Routed experts, second half: dst (+)= sum of weight * (down . hidden) over the experts that a token went to.
 *
 * A task is a few rows of all experts, so that what comes of them is added in one order, that of the experts, into memory of the
 * task's own: no bit depends on which thread did what, and no result of a single expert outlives its task. */
#include <string.h>
#include "experts.h"

struct experts_down {
    int64_t n_expert, n_used;
    int64_t accumulate;         /* add to the slot (the residual stream) instead of replacing what it holds */
    float scale;                /* of the sum */
    struct vector down_scale;   /* [n_expert] or none: factors of each expert's products */
};

enum { HIDDEN, ROUTING, SHARED_HIDDEN };        /* what it reads; the last if there is a shared expert */
enum {
    MOST_PANELS = 4,                            /* of many tokens: the hidden values of a group meet them while they are in the cache */
    TASKS = 32                                  /* at least, where there are so many rows: enough for some threads */
};

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* How many rows of every expert a task takes. */
static int64_t task_rows(const struct step *s, const struct op *op)
{
    const struct weight *down = &op->matrix[0].weight;
    int small = is_small_batch(s->n_tokens), unit = small ? 8 : PANEL_ROWS;
    int64_t most = small ? chunk_rows(s, down, s->n_tokens) : MOST_PANELS * PANEL_ROWS;
    int64_t share = s->plan->width[op->out[0]] / TASKS / unit * unit;
    return min64(share < unit ? unit : share, most);
}

/* One token: each of its hidden rows in this thread's own memory. */
static void prepare_own(struct step *s, struct routing *routing, int thread)
{
    struct q8_row q8 = s->scratch->thread[thread].q8;
    for (struct expert_group *g = routing->group; g < routing->group + routing->n_groups; g++) {
        const float *row = g->source.x + *g->source.rows * g->source.stride;
        g->in.at = (struct prepared){.row = (float *)row, .rows = q8};
        q8 = q8_token(q8, 2, g->in.cols);       /* behind the row and its quantization residual */
        struct input only_q8 = g->in;
        only_q8.need_float = only_q8.need_bf16 = 0;
        prepare_one(s, &g->source, &only_q8, thread);
    }
}

static int prepare_inputs(struct step *s, const struct op *op, struct routing *routing, struct team *team, int thread)
{
    const struct experts_down *p = op->parameters;
    for (struct expert_group *g = routing->group; g < routing->group + routing->n_groups; g++) {
        int shared = g->expert == p->n_expert, slot = op->in[shared ? SHARED_HIDDEN : HIDDEN];
        const struct weight *w = &op->matrix[shared].weight;
        g->source = (struct source){.x = s->scratch->slot[slot], .stride = w->cols, .rows = g->pair};
        g->in = (struct input){.n_tokens = g->n, .cols = w->cols};
        add_need(s, w, &g->in);
    }
    if (s->n_tokens > 1)
        return prepare_groups(s, routing, team, thread);
    prepare_own(s, routing, thread);
    return 0;
}

/* The weight of a group's token t. */
static float weight_of(const struct experts_down *p, const float *chosen, const struct expert_group *g, int t)
{
    int64_t which = g->expert == p->n_expert ? p->n_used : g->pair[t] % p->n_used;
    return chosen[g->token[t] * routing_width(p->n_used) + p->n_used + which];
}

/* Adds what an expert makes of rows row0 .. row0 + n - 1 to sum[t][stride]; out: room for a panel of all tokens. */
static void add_expert(struct step *s, const struct op *op, const struct expert_group *g, int64_t row0, int n, int thread, float *out,
                       float *sum, int stride)
{
    const struct experts_down *p = op->parameters;
    const float *chosen = s->scratch->slot[op->in[ROUTING]];
    int shared = g->expert == p->n_expert;
    struct matrix down = expert_matrix(&op->matrix[shared], shared ? 1 : p->n_expert, shared ? 0 : g->expert, 0,
                                       s->plan->width[op->out[0]]);
    const float *scale = shared || !p->down_scale.data ? NULL : p->down_scale.data + g->expert;
    for (int first = 0; first < n; first += PANEL_ROWS) {
        int rows = n - first < PANEL_ROWS ? n - first : PANEL_ROWS;
        multiply_expert(s, &down, scale, row0 + first, rows, &g->in, thread, out);
        for (int t = 0; t < g->n; t++) {
            s->kernels->scale(out + t * rows, weight_of(p, chosen, g, t), rows);
            s->kernels->add(sum + (int64_t)g->token[t] * stride + first, out + t * rows, rows);
        }
    }
}

static void run_task(struct step *s, const struct op *op, const struct routing *routing, int64_t row0, int n, int thread)
{
    const struct experts_down *p = op->parameters;
    int64_t width = s->plan->width[op->out[0]];
    float *sum = s->scratch->thread[thread].floats + routing_floats(p->n_expert, p->n_used, s->scratch->n_batch);
    float *dst = s->scratch->slot[op->out[0]] + row0;
    memset(sum, 0, (int64_t)s->n_tokens * n * sizeof *sum);
    for (const struct expert_group *g = routing->group; g < routing->group + routing->n_groups; g++)
        add_expert(s, op, g, row0, n, thread, s->scratch->thread[thread].out, sum, n);
    if (p->scale != 1)
        s->kernels->scale(sum, p->scale, (int64_t)s->n_tokens * n);
    for (int t = 0; t < s->n_tokens; t++, dst += width, sum += n) {
        if (p->accumulate)
            s->kernels->add(dst, sum, n);
        else
            memcpy(dst, sum, n * sizeof *sum);
    }
}

static int run_experts_down(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct experts_down *p = op->parameters;
    struct routing routing;
    group_by_expert(s->scratch->slot[op->in[ROUTING]], s->n_tokens, p->n_expert, p->n_used, op->n_in > SHARED_HIDDEN,
                    s->scratch->thread[thread].floats, &routing);
    if (prepare_inputs(s, op, &routing, team, thread))
        return 1;
    int64_t width = s->plan->width[op->out[0]], rows = task_rows(s, op);
    for (int64_t task; (task = next_chunk(team, thread, (width + rows - 1) / rows)) >= 0;) {
        int64_t row0 = task * rows;
        run_task(s, op, &routing, row0, width - row0 < rows ? width - row0 : rows, thread);
    }
    return team_barrier(team, thread);
}

static struct scratch_need experts_down_need(const struct op *op, struct step_size size)
{
    const struct experts_down *p = op->parameters;
    int64_t cols = op->matrix[0].weight.cols, shared_cols = op->n_matrices > 1 ? op->matrix[1].weight.cols : 0;
    return (struct scratch_need){
        .thread_floats = routing_floats(p->n_expert, p->n_used, size.n_batch) + size.n_batch * MOST_PANELS * PANEL_ROWS,
        .thread_q8 = 2 * (p->n_used * cols + shared_cols),
        .prepared = prepared_values(p->n_expert, p->n_used, cols, size) + (size.n_batch + size.lanes) * shared_cols,
    };
}

static const char *check_experts_down(const struct plan *plan, const struct op *op)
{
    const struct experts_down *p = op->parameters;
    if (op->n_in < 2 || op->n_in > 3 || op->n_out != 1 || op->n_matrices != op->n_in - 1 || op->norm)
        return "hidden values and routing into one slot, and a matrix for each of the former";
    if (p->n_expert < 1 || p->n_expert > MAX_EXPERTS || p->n_used < 1 || p->n_used > p->n_expert ||
        plan->width[op->in[ROUTING]] != routing_width(p->n_used))
        return "1 to n_expert experts used, 2 n_used + 1 numbers of routing";
    int64_t width = plan->width[op->out[0]];
    const struct weight *w = &op->matrix[0].weight;
    if (w->cols * p->n_used != plan->width[op->in[HIDDEN]] || w->rows != width * p->n_expert)
        return "a matrix from hidden values to the slot for each expert";
    if (op->n_in > SHARED_HIDDEN) {
        w = &op->matrix[1].weight;
        if (w->cols != plan->width[op->in[SHARED_HIDDEN]] || w->rows != width)
            return "the shared expert's matrix from its hidden values to the slot";
    }
    return p->down_scale.data && p->down_scale.n != p->n_expert ? "down_scale of n_expert values" : NULL;
}

static const struct field fields[] = {
    FIELD(INT, experts_down, n_expert),
    FIELD(INT, experts_down, n_used),
    FIELD(INT, experts_down, accumulate),
    FIELD(FLOAT, experts_down, scale),
    FIELD(VECTOR, experts_down, down_scale),
    {0},
};

const struct operation op_experts_down = {
    .name = "experts_down", .fields = fields, .parameter_bytes = sizeof(struct experts_down), .run = run_experts_down,
    .check = check_experts_down, .scratch = experts_down_need,
};
