/* A gate: dst *= sigmoid(src), element by element. */
#include "engine/operation.h"

static int run_gate(struct step *s, const struct op *op, struct team *team, int thread)
{
    int64_t n = s->plan->width[op->out[0]];
    for (int64_t t; (t = next_chunk(team, thread, s->n_tokens)) >= 0;) {
        float *dst = s->scratch->slot[op->out[0]] + t * n;
        s->kernels->sigmoid_mul(s->scratch->slot[op->in[0]] + t * n, dst, n, dst);
    }
    return team_barrier(team, thread);
}

static const char *check_gate(const struct plan *plan, const struct op *op)
{
    if (op->n_in != 1 || op->n_out != 1 || op->n_matrices != 0 || op->norm)
        return "one slot over another";
    return plan->width[op->in[0]] == plan->width[op->out[0]] ? NULL : "slots of one width";
}

const struct operation op_gate = {.name = "gate", .run = run_gate, .check = check_gate};
