/* A linear map of each head's own (a block-diagonal projection): out_h = [W_h . x_h | the values of x_h behind those].
 *
 * What W_h is multiplied with are the first values of a head. Where a result has more values than W_h has rows they are those that
 * follow in x_h: the part of a query that rope turns goes past the map that is absorbed into it. The rows of all heads lie one after
 * the other in one matrix, of which a head may leave out some: the other map that a fused tensor holds.
 *
 * One token: what a chunk is multiplied with a thread makes ready for itself, and the threads meet once. */
#include <string.h>
#include "engine/operation.h"

struct head_linear {
    int64_t n_head;
    int64_t first_row, n_rows;  /* of the rows that each head has in the matrix */
};

/* Floats of a head in the slot that is read, and in that which is written. */
struct lengths {
    int64_t in, out;
};

static struct lengths lengths_of(const struct plan *plan, const struct op *op)
{
    const struct head_linear *p = op->parameters;
    return (struct lengths){plan->width[op->in[0]] / p->n_head, plan->width[op->out[0]] / p->n_head};
}

static int64_t rounded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static struct source source_of(const struct step *s, const struct op *op, int64_t head)
{
    return (struct source){.x = s->scratch->slot[op->in[0]] + head * lengths_of(s->plan, op).in, .stride = s->plan->width[op->in[0]]};
}

/* The input of one head: of several tokens in memory that all threads share, of one in the thread's own. */
static struct input input_of(struct step *s, const struct op *op, int64_t head, int thread)
{
    const struct weight *w = &op->matrix[0].weight;
    struct thread_scratch *mine = &s->scratch->thread[thread];
    struct input in = {.n_tokens = s->n_tokens, .cols = w->cols};
    add_need(s, w, &in);
    in.at = s->n_tokens == 1 ? (struct prepared){.row = mine->row, .rows = mine->q8}
                             : prepared_behind(s, head * rounded(s->n_tokens, s->kernels->lanes) * w->cols);
    return in;
}

static int prepare_heads(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct head_linear *p = op->parameters;
    struct input in = input_of(s, op, 0, thread);
    int n = prepare_tasks(s, &in);
    for (int64_t task; (task = next_chunk(team, thread, p->n_head * n)) >= 0;) {
        struct source source = source_of(s, op, task / n);
        in = input_of(s, op, task / n, thread);
        prepare_task(s, &source, &in, task % n, thread);
    }
    return team_barrier(team, thread);
}

/* Values of a head that are not multiplied with, to where they stand behind its result. */
static void copy_rest(struct step *s, const struct op *op, int64_t head)
{
    const struct head_linear *p = op->parameters;
    struct lengths n = lengths_of(s->plan, op);
    const float *src = s->scratch->slot[op->in[0]] + head * n.in + op->matrix[0].weight.cols;
    float *dst = s->scratch->slot[op->out[0]] + head * n.out + p->n_rows;
    for (int t = 0; t < s->n_tokens; t++)
        memcpy(dst + t * n.out * p->n_head, src + t * n.in * p->n_head, (n.out - p->n_rows) * sizeof *dst);
}

static int run_head_linear(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct head_linear *p = op->parameters;
    const struct weight *w = &op->matrix[0].weight;
    int64_t rows = chunk_rows(s, w, s->n_tokens), chunks = (p->n_rows + rows - 1) / rows, ready = -1;
    if (s->n_tokens > 1 && prepare_heads(s, op, team, thread))
        return 1;
    for (int64_t task; (task = next_chunk(team, thread, p->n_head * chunks)) >= 0;) {
        int64_t head = task / chunks, row0 = task % chunks * rows;
        struct input in = input_of(s, op, head, thread);
        struct source source = source_of(s, op, head);
        if (s->n_tokens == 1 && head != ready)
            prepare_one(s, &source, &in, thread);
        ready = head;
        if (row0 == 0)
            copy_rest(s, op, head);
        multiply_panel(s, w, head * (w->rows / p->n_head) + p->first_row + row0, p->n_rows - row0 < rows ? p->n_rows - row0 : rows, &in,
                       thread, s->scratch->slot[op->out[0]] + head * lengths_of(s->plan, op).out + row0, s->plan->width[op->out[0]]);
    }
    return team_barrier(team, thread);
}

static struct scratch_need head_linear_need(const struct op *op, struct step_size size)
{
    const struct head_linear *p = op->parameters;
    return (struct scratch_need){.prepared = p->n_head * rounded(size.n_batch, size.lanes) * op->matrix[0].weight.cols};
}

static const char *check_head_linear(const struct plan *plan, const struct op *op)
{
    const struct head_linear *p = op->parameters;
    if (op->n_in != 1 || op->n_out != 1 || op->n_matrices != 1 || op->norm || op->matrix[0].bias)
        return "one slot into one slot, and a matrix without bias";
    const struct weight *w = &op->matrix[0].weight;
    if (p->n_head < 1 || w->rows % p->n_head || plan->width[op->in[0]] % p->n_head || plan->width[op->out[0]] % p->n_head)
        return "slots and rows of n_head heads";
    int64_t of_head = w->rows / p->n_head;
    if (p->n_rows < 1 || p->n_rows > of_head || p->first_row < 0 || p->first_row > of_head - p->n_rows)
        return "rows first_row to first_row + n_rows among those of each head";
    struct lengths n = lengths_of(plan, op);
    if (n.in < w->cols || n.out < p->n_rows || n.out - p->n_rows > n.in - w->cols)
        return "heads as long as the matrix's rows, and behind these what the result has more than n_rows";
    return NULL;
}

static const struct field fields[] = {
    FIELD(INT, head_linear, n_head),
    FIELD(INT, head_linear, first_row),
    FIELD(INT, head_linear, n_rows),
    {0},
};

const struct operation op_head_linear = {
    .name = "head_linear", .fields = fields, .parameter_bytes = sizeof(struct head_linear), .run = run_head_linear,
    .check = check_head_linear, .scratch = head_linear_need,
};
