/* Heads cut lengthwise: of src [n_heads][width of all slots / n_heads], the first values of each head to the first slot, and so on. */
#include <string.h>
#include "engine/operation.h"

struct split {
    int64_t n_heads;
};

static int run_split(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct split *p = op->parameters;
    for (int64_t t; (t = next_chunk(team, thread, s->n_tokens)) >= 0;) {
        const float *src = s->scratch->slot[op->in[0]] + t * s->plan->width[op->in[0]];
        for (int64_t h = 0; h < p->n_heads; h++)
            for (int i = 0; i < op->n_out; i++) {
                int64_t width = s->plan->width[op->out[i]], n = width / p->n_heads;
                memcpy(s->scratch->slot[op->out[i]] + t * width + h * n, src, n * sizeof *src);
                src += n;
            }
    }
    return team_barrier(team, thread);
}

static const char *check_split(const struct plan *plan, const struct op *op)
{
    const struct split *p = op->parameters;
    if (op->n_in != 1 || op->n_out < 2 || op->n_matrices != 0 || op->norm || p->n_heads < 1)
        return "the heads of one slot into several";
    int64_t width = 0;
    for (int i = 0; i < op->n_out; i++) {
        width += plan->width[op->out[i]];
        if (plan->width[op->out[i]] % p->n_heads)
            return "as many values of each head in a slot";
    }
    return width == plan->width[op->in[0]] ? NULL : "slots that are as wide as the first one all together";
}

static const struct field fields[] = {FIELD(INT, split, n_heads), {0}};

const struct operation op_split = {
    .name = "split", .fields = fields, .parameter_bytes = sizeof(struct split), .run = run_split, .check = check_split,
};
