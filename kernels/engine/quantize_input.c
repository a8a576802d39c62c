/* The input of projections made ready: normalized, and quantized where quantized weights are multiplied with it.
 *
 * One token: every thread does it for itself, which is cheaper than a barrier. More: threads share them, by tiles, and by rows where they
 * are a small batch or few behind the last tile. */
#include <string.h>
#include "ops.h"

/* x -= dequantize(q8): leaves the quantization residual. */
static void subtract_q8(float *x, struct q8_row q8, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] -= (float)q8.q[i] * q8.scale[i / Q8_GROUP];
}

static void load_row(struct step *s, const struct source *source, int t, int64_t cols, float *row)
{
    const float *x = source->x + (source->rows ? source->rows[t] : t) * source->stride;
    if (source->norm)
        s->kernels->rms_norm(x, source->norm, cols, source->eps, row);
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

/* How many tokens become rows of their own: as int8 the last ones, as floats all. */
static int n_q8_rows(const struct step *s, const struct input *in)
{
    return in->need_q8 ? n_row_tokens(s, in->n_tokens) : 0;
}

static int n_float_rows(const struct step *s, const struct input *in)
{
    int few = (in->need_float && are_few_floats(s, in->n_tokens)) || (in->need_bf16 && is_small_batch(in->n_tokens));
    return few ? in->n_tokens : 0;
}

/* Whether tiles are wanted of all tokens. */
static int tiles_floats(const struct step *s, const struct input *in) { return in->need_float && !are_few_floats(s, in->n_tokens); }
static int tiles_bf16(const struct input *in) { return in->need_bf16 && !is_small_batch(in->n_tokens); }

/* Of token t, what is wanted of these. */
static void prepare_row(struct step *s, const struct source *source, const struct input *in, int t, int thread)
{
    float *row = s->scratch->thread[thread].float_panel;
    int n = n_q8_rows(s, in), i = t - (in->n_tokens - n);
    load_row(s, source, t, in->cols, row);
    if (t < n_float_rows(s, in))
        memcpy(in->at.row + t * in->cols, row, in->cols * sizeof(float));
    if (i >= 0)
        quantize_row(s, row, in->cols, q8_token(in->at.rows, i, in->cols), q8_token(in->at.rows, n + i, in->cols));
}

void prepare_one(struct step *s, const struct source *source, const struct input *in, int thread)
{
    prepare_row(s, source, in, 0, thread);
}

static void prepare_tile(struct step *s, const struct source *source, const struct input *in, int tile, int thread)
{
    const struct kernels *k = s->kernels;
    struct thread_scratch *mine = &s->scratch->thread[thread];
    int64_t cols = in->cols, first = (int64_t)tile * k->lanes, at = first * cols;
    int n = in->n_tokens - first < k->lanes ? in->n_tokens - first : k->lanes;
    float *rows = mine->out;                                             /* [n][cols], see lay_out_thread */
    for (int t = 0; t < n; t++)
        load_row(s, source, first + t, cols, rows + t * cols);
    if (tiles_floats(s, in))
        k->pack_float(rows, cols, n, cols, in->at.tile + at);
    if (tiles_bf16(in))
        k->pack_bf16(rows, cols, n, cols, in->at.bf16_tile + at);
    if (!in->need_q8 || first >= in->n_tokens - n_q8_rows(s, in))
        return;
    for (int t = 0; t < n; t++)
        quantize_row(s, rows + t * cols, cols, q8_token(mine->q8, t, cols), q8_token(mine->residual, t, cols));
    k->pack_q8(mine->q8, n, cols, q8_tile_at(in->at.q8, at));
    if (s->scratch->activations == ACTIVATIONS_INT8X2)
        k->pack_q8(mine->residual, n, cols, q8_tile_at(in->at.residual, at));
}

struct prepared prepared_behind(const struct step *s, int64_t values)
{
    const struct prepared *all = &s->scratch->prepared;
    return (struct prepared){
        .row = all->row + values,
        .rows = {all->rows.q + 2 * values, all->rows.scale + 2 * values / Q8_GROUP, all->rows.sum + 2 * values / 16},
        .q8 = q8_tile_at(all->q8, values),
        .residual = q8_tile_at(all->residual, values),
        .tile = all->tile + values,
        .bf16_tile = all->bf16_tile + values,
    };
}

/* Rows first, then tiles: of all tokens where floats want them, else of those that do not become rows of int8. */
static int row_tasks(const struct step *s, const struct input *in)
{
    return n_float_rows(s, in) ? in->n_tokens : n_q8_rows(s, in);
}

int prepare_tasks(const struct step *s, const struct input *in)
{
    int lanes = s->kernels->lanes, tiled = in->need_q8 ? in->n_tokens - n_q8_rows(s, in) : 0;
    if (tiles_floats(s, in) || tiles_bf16(in))
        tiled = in->n_tokens;
    return row_tasks(s, in) + (tiled + lanes - 1) / lanes;
}

void prepare_task(struct step *s, const struct source *source, const struct input *in, int task, int thread)
{
    int rows = row_tasks(s, in);
    if (task < rows)
        prepare_row(s, source, in, in->n_tokens - rows + task, thread);
    else
        prepare_tile(s, source, in, task - rows, thread);
}

int prepare(struct step *s, const struct source *source, struct input *in, struct team *team, int thread)
{
    struct thread_scratch *mine = &s->scratch->thread[thread];
    if (in->n_tokens == 1) {
        in->at = (struct prepared){.row = mine->row, .rows = mine->q8};
        prepare_one(s, source, in, thread);
        return 0;
    }
    in->at = s->scratch->prepared;
    int n = prepare_tasks(s, in);
    for (int64_t task; (task = next_chunk(team, thread, n)) >= 0;)
        prepare_task(s, source, in, task, thread);
    return team_barrier(team, thread);
}

int prepare_op(struct step *s, const struct op *op, struct input *in, struct team *team, int thread)
{
    struct source source = {s->scratch->slot[op->in[0]], s->plan->width[op->in[0]], NULL, op->norm, op->eps};
    *in = (struct input){.n_tokens = s->n_tokens, .cols = source.stride};
    for (int i = 0; i < op->n_matrices; i++)
        add_need(s, &op->matrix[i].weight, in);
    return prepare(s, &source, in, team, thread);
}
