/* The embeddings: dst = scale * the token's row of a matrix. It reads no slot but the tokens themselves. */
#include "engine/operation.h"

struct embed {
    float scale;
};

static int run_embed(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct embed *p = op->parameters;
    const struct weight *w = &op->matrix[0].weight;
    int64_t stride = s->plan->width[op->out[0]];
    for (int64_t t; (t = next_chunk(team, thread, s->n_tokens)) >= 0;) {
        float *x = s->scratch->slot[op->out[0]] + t * stride;
        s->kernels->to_float[w->format](w->data + s->token[t] * row_bytes(w->format, w->cols), w->cols, x);
        if (p->scale != 1)
            s->kernels->scale(x, p->scale, w->cols);
    }
    return team_barrier(team, thread);
}

static const char *check_embed(const struct plan *plan, const struct op *op)
{
    if (op->n_in != 0 || op->n_out != 1 || op->n_matrices != 1)
        return "one matrix into one slot";
    return op->matrix[0].weight.cols == plan->width[op->out[0]] ? NULL : "rows as long as the slot is wide";
}

static const struct field fields[] = {FIELD(FLOAT, embed, scale), {0}};

const struct operation op_embed = {
    .name = "embed", .fields = fields, .parameter_bytes = sizeof(struct embed), .run = run_embed, .check = check_embed,
};
