/* Projections: several matrices times one input, with what belongs after them: bias, residual, gate.
 *
 * Threads take chunks of weight rows: of some KB for few tokens, a panel that is unpacked once for many. */
#include <string.h>
#include "ops.h"

static int prepare_op(struct step *s, const struct op *op, struct input *in, struct team *team, int thread)
{
    *in = (struct input){.n_tokens = s->n_tokens, .cols = op->target[0].weight.cols};
    for (int i = 0; i < op->n_targets; i++)
        add_need(s, &op->target[i].weight, in);
    int64_t stride = s->plan->width[op->src];
    return prepare(s, s->scratch->slot[op->src], stride, NULL, op->norm, op->eps, *in, team, thread);
}

/* Adds bias and, where the operation accumulates, what the target held. */
static void store_rows(struct step *s, const struct op *op, const struct target *to, int64_t row0, int n, const float *out)
{
    int64_t stride = s->plan->width[to->slot];
    float *dst = s->scratch->slot[to->slot] + row0;
    for (int t = 0; t < s->n_tokens; t++, dst += stride, out += n) {
        if (op->accumulate)
            s->kernels->add(dst, out, n);
        else
            memcpy(dst, out, n * sizeof(float));
        if (to->bias)
            s->kernels->add(dst, to->bias + row0, n);
    }
}

int run_linear(struct step *s, const struct op *op, struct team *team, int thread)
{
    struct input in;
    if (prepare_op(s, op, &in, team, thread))
        return 1;
    int64_t end[MAX_TARGETS], n_chunks = 0;
    for (int i = 0; i < op->n_targets; i++) {
        int64_t rows = chunk_rows(s, &op->target[i].weight, s->n_tokens);
        end[i] = n_chunks += (op->target[i].weight.rows + rows - 1) / rows;
    }
    float *out = s->scratch->thread[thread].out;
    for (int64_t chunk; (chunk = team_next(team, thread, n_chunks)) >= 0;) {
        int i = 0;
        while (chunk >= end[i])
            i++;
        const struct target *to = &op->target[i];
        int64_t rows = chunk_rows(s, &to->weight, s->n_tokens), row0 = (chunk - (i ? end[i - 1] : 0)) * rows;
        int n = to->weight.rows - row0 < rows ? to->weight.rows - row0 : rows;
        multiply_panel(s, &to->weight, row0, n, in, thread, out, n);
        store_rows(s, op, to, row0, n, out);
    }
    return team_barrier(team, thread);
}

/* target[0] = activation(gate . x) * (up . x) */
int run_gated(struct step *s, const struct op *op, struct team *team, int thread)
{
    struct input in;
    if (prepare_op(s, op, &in, team, thread))
        return 1;
    const struct target *gate = &op->target[0], *up = &op->target[1];
    int64_t rows = chunk_rows(s, &gate->weight, s->n_tokens), n_chunks = (gate->weight.rows + rows - 1) / rows;
    int64_t stride = s->plan->width[gate->slot];
    float *g = s->scratch->thread[thread].out, *u = g + s->n_tokens * rows;
    for (int64_t chunk; (chunk = team_next(team, thread, n_chunks)) >= 0;) {
        int64_t row0 = chunk * rows;
        int n = gate->weight.rows - row0 < rows ? gate->weight.rows - row0 : rows;
        multiply_panel(s, &gate->weight, row0, n, in, thread, g, n);
        multiply_panel(s, &up->weight, row0, n, in, thread, u, n);
        for (int t = 0; t < s->n_tokens; t++) {
            if (gate->bias)
                s->kernels->add(g + t * n, gate->bias + row0, n);
            if (up->bias)
                s->kernels->add(u + t * n, up->bias + row0, n);
            (op->activation == ACT_SILU ? s->kernels->silu_mul : s->kernels->gelu_mul)(
                g + t * n, u + t * n, n, s->scratch->slot[gate->slot] + t * stride + row0);
        }
    }
    return team_barrier(team, thread);
}
