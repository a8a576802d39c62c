/* Gated linear unit (SwiGLU, GeGLU, ...): dst = activation(gate . x) * (up . x) of x = rms_norm(src), a panel of rows of both at a time.
 * With one matrix it gates itself: activation(up . x) * (up . x), for ReLU its square; or what a second slot has from `column` on. */
#include "engine/operation.h"

struct glu {
    int64_t activation;
    int64_t column;             /* of in[1] */
};

/* What the gate of token t opens for, from row0 on: the second slot's values, or of a panel's n products. */
static const float *gated(const struct step *s, const struct op *op, const float *products, int64_t row0, int t, int n)
{
    const struct glu *p = op->parameters;
    return op->n_in > 1 ? s->scratch->slot[op->in[1]] + (int64_t)t * s->plan->width[op->in[1]] + p->column + row0 : products + t * n;
}

static int run_glu(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct glu *p = op->parameters;
    struct input in;
    if (prepare_op(s, op, &in, team, thread))
        return 1;
    const struct matrix *gate = &op->matrix[0], *up = op->n_matrices > 1 ? &op->matrix[1] : NULL;
    int64_t rows = chunk_rows(s, &gate->weight, s->n_tokens), n_chunks = (gate->weight.rows + rows - 1) / rows;
    int64_t stride = s->plan->width[op->out[0]];
    float *g = s->scratch->thread[thread].out, *u = up ? g + s->n_tokens * rows : g;
    for (int64_t chunk; (chunk = next_chunk(team, thread, n_chunks)) >= 0;) {
        int64_t row0 = chunk * rows;
        int n = gate->weight.rows - row0 < rows ? gate->weight.rows - row0 : rows;
        multiply_panel(s, &gate->weight, row0, n, &in, thread, g, n);
        if (up)
            multiply_panel(s, &up->weight, row0, n, &in, thread, u, n);
        for (int t = 0; t < s->n_tokens; t++) {
            if (gate->bias)
                s->kernels->add(g + t * n, gate->bias + row0, n);
            if (up && up->bias)
                s->kernels->add(u + t * n, up->bias + row0, n);
            activate(s->kernels, p->activation, g + t * n, gated(s, op, u, row0, t, n), n, s->scratch->slot[op->out[0]] + t * stride + row0);
        }
    }
    return team_barrier(team, thread);
}

static const char *check_glu(const struct plan *plan, const struct op *op)
{
    const struct glu *p = op->parameters;
    if (op->n_in < 1 || op->n_matrices < 1 || op->n_in + op->n_matrices > 3 || op->n_out != 1)
        return "gate and up of one input, or up alone, or gate and a slot, into one slot";
    int64_t width = plan->width[op->out[0]];
    for (int i = 0; i < op->n_matrices; i++)
        if (!matrix_fits(plan, op, i, width))
            return "matrices from the input to the slot";
    if (p->column < 0 || (op->n_in > 1 && p->column > plan->width[op->in[1]] - width))
        return "columns of the second slot for all rows of the gate";
    return NULL;
}

static const struct field fields[] = {CHOICE(glu, activation, ACTIVATIONS), FIELD(INT, glu, column), {0}};

const struct operation op_glu = {
    .name = "glu", .fields = fields, .parameter_bytes = sizeof(struct glu), .run = run_glu, .check = check_glu,
};
