/* RMSNorm by itself: dst = scale * rms_norm(src), or scale * (dst + rms_norm(src)). Where projections follow it is part of their operation. */
#include "engine/operation.h"

struct norm {
    int64_t accumulate;         /* add to dst instead of replacing it */
    int64_t n_groups;           /* equal parts of src, each normed for itself */
    float scale;
};

static int run_norm(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct norm *p = op->parameters;
    int64_t n = s->plan->width[op->out[0]], group = n / p->n_groups;
    float *row = s->scratch->thread[thread].row;
    for (int64_t t; (t = next_chunk(team, thread, s->n_tokens)) >= 0;) {
        float *dst = s->scratch->slot[op->out[0]] + t * n;
        const float *src = s->scratch->slot[op->in[0]] + t * n;
        for (int64_t i = 0; i < n; i += group)
            s->kernels->rms_norm(src + i, op->norm + i, group, op->eps, (p->accumulate ? row : dst) + i);
        if (p->accumulate)
            s->kernels->add(dst, row, n);
        if (p->scale != 1)
            s->kernels->scale(dst, p->scale, n);
    }
    return team_barrier(team, thread);
}

static const char *check_norm(const struct plan *plan, const struct op *op)
{
    const struct norm *p = op->parameters;
    if (op->n_in != 1 || op->n_out != 1 || op->n_matrices != 0 || !op->norm)
        return "the norm of one slot into one slot";
    if (p->n_groups < 1 || plan->width[op->in[0]] % p->n_groups)
        return "groups of as many values";
    return plan->width[op->in[0]] == plan->width[op->out[0]] ? NULL : "slots of one width";
}

static const struct field fields[] = {FIELD(INT, norm, accumulate), FIELD(INT, norm, n_groups), FIELD(FLOAT, norm, scale), {0}};

const struct operation op_norm = {
    .name = "norm", .fields = fields, .parameter_bytes = sizeof(struct norm), .run = run_norm, .check = check_norm,
};
