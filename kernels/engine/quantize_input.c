/* The input of projections made ready: normalized, and quantized where quantized weights are multiplied with it.
 *
 * One token: every thread does it for itself, which is cheaper than a barrier. More: threads share them, by rows if they are a
 * small batch, else by tiles. */
#include <string.h>
#include "ops.h"

/* x -= dequantize(q8): leaves the quantization residual. */
static void subtract_q8(float *x, struct q8_row q8, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] -= (float)q8.q[i] * q8.scale[i / Q8_GROUP];
}

static void load_row(struct step *s, const float *x, const float *norm, float eps, int64_t cols, float *row)
{
    if (norm)
        s->kernels->rms_norm(x, norm, cols, eps, row);
    else
        memcpy(row, x, cols * sizeof(float));
}

/* The row as int8 and, with INT8X2, its quantization residual, which overwrites the row. */
static void quantize_row(struct step *s, float *row, int64_t cols, struct q8_row q8, struct q8_row residual)
{
    s->kernels->quantize(row, cols, q8);
    if (s->scratch->activations != ACTIVATIONS_INT8X2)
        return;
    subtract_q8(row, q8, cols);
    s->kernels->quantize(row, cols, residual);
}

static void prepare_one(struct step *s, const float *x, const float *norm, float eps, struct input in, int thread)
{
    struct thread_scratch *mine = &s->scratch->thread[thread];
    float *row = in.need_float ? mine->float_panel : mine->row;          /* quantize_row may overwrite it */
    load_row(s, x, norm, eps, in.cols, mine->row);
    if (!in.need_q8)
        return;
    if (in.need_float)
        memcpy(row, mine->row, in.cols * sizeof(float));
    quantize_row(s, row, in.cols, mine->q8, q8_token(mine->q8, 1, in.cols));
}

/* Row t of a small batch. */
static void prepare_row(struct step *s, const float *x, const float *norm, float eps, struct input in, int t, int thread)
{
    struct q8_row rows = s->scratch->small_batch;
    float *row = s->scratch->thread[thread].row;
    load_row(s, x, norm, eps, in.cols, row);
    quantize_row(s, row, in.cols, q8_token(rows, t, in.cols), q8_token(rows, in.n_tokens + t, in.cols));
}

static void prepare_tile(struct step *s, const float *x, int64_t stride, const int32_t *rows, const float *norm, float eps,
                         struct input in, int tile, int thread)
{
    const struct kernels *k = s->kernels;
    struct thread_scratch *mine = &s->scratch->thread[thread];
    int first = tile * k->lanes, n = in.n_tokens - first < k->lanes ? in.n_tokens - first : k->lanes;
    float *tile_rows = mine->out;                                        /* [n][cols], see lay_out_thread */
    for (int t = 0; t < n; t++)
        load_row(s, x + (rows ? rows[first + t] : first + t) * stride, norm, eps, in.cols, tile_rows + t * in.cols);
    if (in.need_float)
        k->pack_float(tile_rows, in.cols, n, in.cols, float_tile_at(s, tile, in.cols));
    if (in.need_bf16)
        k->pack_bf16(tile_rows, in.cols, n, in.cols, bf16_tile_at(s, tile, in.cols));
    if (!in.need_q8 || is_small_batch(s, in.n_tokens))
        return;
    for (int t = 0; t < n; t++)
        quantize_row(s, tile_rows + t * in.cols, in.cols, q8_token(mine->q8, t, in.cols), q8_token(mine->residual, t, in.cols));
    k->pack_q8(mine->q8, n, in.cols, q8_tile_at(s, s->scratch->q8, tile, in.cols));
    if (s->scratch->activations == ACTIVATIONS_INT8X2)
        k->pack_q8(mine->residual, n, in.cols, q8_tile_at(s, s->scratch->residual, tile, in.cols));
}

int prepare(struct step *s, const float *x, int64_t stride, const int32_t *rows, const float *norm, float eps,
            struct input in, struct team *team, int thread)
{
    if (in.n_tokens == 1) {
        prepare_one(s, x + (rows ? rows[0] * stride : 0), norm, eps, in, thread);
        return 0;
    }
    int lanes = s->kernels->lanes;
    int n_rows = in.need_q8 && is_small_batch(s, in.n_tokens) ? in.n_tokens : 0;
    int n_tiles = in.need_float || in.need_bf16 || !n_rows ? (in.n_tokens + lanes - 1) / lanes : 0;
    for (int64_t task; (task = next_chunk(team, thread, n_rows + n_tiles)) >= 0;)
        if (task < n_rows)
            prepare_row(s, x + (rows ? rows[task] : task) * stride, norm, eps, in, task, thread);
        else
            prepare_tile(s, x, stride, rows, norm, eps, in, task - n_rows, thread);
    return team_barrier(team, thread);
}

int prepare_op(struct step *s, const struct op *op, struct input *in, struct team *team, int thread)
{
    int64_t stride = s->plan->width[op->in[0]];
    *in = (struct input){.n_tokens = s->n_tokens, .cols = stride};
    for (int i = 0; i < op->n_matrices; i++)
        add_need(s, &op->matrix[i].weight, in);
    return prepare(s, s->scratch->slot[op->in[0]], stride, NULL, op->norm, op->eps, *in, team, thread);
}
