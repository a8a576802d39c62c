/* The input of a projection made ready: normalized, and quantized where quantized weights read it.
 *
 * One token: every thread does it for itself, which is cheaper than a barrier. Many tokens: the threads make tiles of them together. */
#include <string.h>
#include "plan.h"

struct q8_tile q8_tile_at(const struct step *s, struct q8_tile all, int tile, int64_t cols)
{
    int64_t lanes = s->kernels->lanes, at = tile * lanes * cols;
    return (struct q8_tile){all.q + at, all.scale + at / 32, all.sum + at / 16};
}

float *float_tile_at(const struct step *s, int tile, int64_t cols)
{
    return s->scratch->tile + (int64_t)tile * s->kernels->lanes * cols;
}

/* x -= what q8 says of it. */
static void subtract_q8(float *x, struct q8_row q8, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] -= (float)q8.q[i] * q8.scale[i / Q8_GROUP];
}

static void prepare_one(struct step *s, const float *x, const float *norm, float eps, struct input in, int thread)
{
    struct thread_scratch *mine = &s->scratch->thread[thread];
    if (norm)
        s->kernels->rms_norm(x, norm, in.cols, eps, mine->row);
    else
        memcpy(mine->row, x, in.cols * sizeof(float));
    if (in.need_q8)
        s->kernels->quantize(mine->row, in.cols, mine->q8);
    if (in.need_q8 && s->scratch->activations == ACTIVATIONS_INT8X2) {
        float *rest = mine->float_panel;
        memcpy(rest, mine->row, in.cols * sizeof(float));
        subtract_q8(rest, mine->q8, in.cols);
        s->kernels->quantize(rest, in.cols, mine->rest);
    }
}

static struct q8_row q8_row_at(struct q8_row rows, int row, int64_t cols)
{
    return (struct q8_row){rows.q + row * cols, rows.scale + row * cols / 32, rows.sum + row * cols / 16};
}

static void prepare_tile(struct step *s, const float *x, int64_t stride, const int32_t *rows, const float *norm, float eps,
                         struct input in, int tile, int thread)
{
    const struct kernels *k = s->kernels;
    struct thread_scratch *mine = &s->scratch->thread[thread];
    int first = tile * k->lanes, n = in.n_tokens - first < k->lanes ? in.n_tokens - first : k->lanes;
    float *tile_rows = mine->out;                                        /* [n][cols], see lay_out_thread */
    for (int t = 0; t < n; t++) {
        const float *row = x + (rows ? rows[first + t] : first + t) * stride;
        if (norm)
            k->rms_norm(row, norm, in.cols, eps, tile_rows + t * in.cols);
        else
            memcpy(tile_rows + t * in.cols, row, in.cols * sizeof(float));
    }
    if (in.need_float)
        k->pack_float(tile_rows, in.cols, n, in.cols, float_tile_at(s, tile, in.cols));
    if (!in.need_q8)
        return;
    for (int t = 0; t < n; t++)
        k->quantize(tile_rows + t * in.cols, in.cols, q8_row_at(mine->q8, t, in.cols));
    k->pack_q8(mine->q8, n, in.cols, q8_tile_at(s, s->scratch->q8, tile, in.cols));
    if (s->scratch->activations != ACTIVATIONS_INT8X2)
        return;
    for (int t = 0; t < n; t++) {
        subtract_q8(tile_rows + t * in.cols, q8_row_at(mine->q8, t, in.cols), in.cols);
        k->quantize(tile_rows + t * in.cols, in.cols, q8_row_at(mine->rest, t, in.cols));
    }
    k->pack_q8(mine->rest, n, in.cols, q8_tile_at(s, s->scratch->rest, tile, in.cols));
}

int prepare(struct step *s, const float *x, int64_t stride, const int32_t *rows, const float *norm, float eps,
            struct input in, struct team *team, int thread)
{
    if (in.n_tokens == 1) {
        prepare_one(s, x + (rows ? rows[0] * stride : 0), norm, eps, in, thread);
        return 0;
    }
    int n_tiles = (in.n_tokens + s->kernels->lanes - 1) / s->kernels->lanes;
    for (int64_t tile; (tile = team_next(team, thread, n_tiles)) >= 0;)
        prepare_tile(s, x, stride, rows, norm, eps, in, tile, thread);
    return team_barrier(team, thread);
}
