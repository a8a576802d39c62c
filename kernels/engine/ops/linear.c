/* Projections: several matrices times one input, with bias, scale and residual: slot (+)= scale * (W . rms_norm(src) + bias).
 *
 * Threads take chunks of weight rows: of some KB for a small batch, a panel that is unpacked once for many tokens. */
#include <string.h>
#include "engine/operation.h"

struct linear {
    int64_t accumulate;         /* add to the slots (the residual stream) instead of replacing what they hold */
    float scale;
};

/* Adds bias, scales, and adds what the slot held where the operation accumulates. */
static void store_rows(struct step *s, const struct op *op, int i, int64_t row0, int n, float *out)
{
    const struct linear *p = op->parameters;
    const float *bias = op->matrix[i].bias;
    int64_t stride = s->plan->width[op->out[i]];
    float *dst = s->scratch->slot[op->out[i]] + row0;
    for (int t = 0; t < s->n_tokens; t++, dst += stride, out += n) {
        if (bias)
            s->kernels->add(out, bias + row0, n);
        if (p->scale != 1)
            s->kernels->scale(out, p->scale, n);
        if (p->accumulate)
            s->kernels->add(dst, out, n);
        else
            memcpy(dst, out, n * sizeof(float));
    }
}

static int run_linear(struct step *s, const struct op *op, struct team *team, int thread)
{
    struct input in;
    if (prepare_op(s, op, &in, team, thread))
        return 1;
    int64_t end[MAX_OPERANDS], n_chunks = 0;
    for (int i = 0; i < op->n_matrices; i++) {
        int64_t rows = chunk_rows(s, &op->matrix[i].weight, s->n_tokens);
        end[i] = n_chunks += (op->matrix[i].weight.rows + rows - 1) / rows;
    }
    float *out = s->scratch->thread[thread].out;
    for (int64_t chunk; (chunk = next_chunk(team, thread, n_chunks)) >= 0;) {
        int i = 0;
        while (chunk >= end[i])
            i++;
        const struct weight *w = &op->matrix[i].weight;
        int64_t rows = chunk_rows(s, w, s->n_tokens), row0 = (chunk - (i ? end[i - 1] : 0)) * rows;
        int n = w->rows - row0 < rows ? w->rows - row0 : rows;
        multiply_panel(s, w, row0, n, &in, thread, out, n);
        store_rows(s, op, i, row0, n, out);
    }
    return team_barrier(team, thread);
}

static const char *check_linear(const struct plan *plan, const struct op *op)
{
    if (op->n_in != 1 || op->n_matrices < 1 || op->n_out != op->n_matrices)
        return "one input, and a slot for each matrix";
    for (int i = 0; i < op->n_matrices; i++)
        if (!matrix_fits(plan, op, i, plan->width[op->out[i]]))
            return "matrices from the width of the input to those of their slots";
    return NULL;
}

static const struct field fields[] = {FIELD(INT, linear, accumulate), FIELD(FLOAT, linear, scale), {0}};

const struct operation op_linear = {
    .name = "linear", .fields = fields, .parameter_bytes = sizeof(struct linear), .run = run_linear, .check = check_linear,
};
