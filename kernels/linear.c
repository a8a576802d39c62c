/* Projections: several matrices times one input, with what belongs before (RMSNorm, quantization) and after (bias,
 * residual, gate).
 *
 * One token: every thread normalizes and quantizes the row for itself, which is cheaper than a barrier, then takes
 * chunks of rows.
 * Many tokens: the threads prepare tiles of tokens together, meet, then take panels of weight rows, each unpacked once. */
#include <string.h>
#include "plan.h"

enum { CHUNK_BYTES = 32 * 1024 };

int uses_q8(const struct step *s, const struct weight *w)
{
    return format_info[w->format].group != 0 && s->scratch->activations != ACTIVATIONS_FLOAT;
}

/* Tile t of the tiles that lie one after the other in the shared buffers `all`. */
static struct q8_tile q8_tile_at(const struct step *s, struct q8_tile all, int tile, int64_t cols)
{
    int64_t lanes = s->kernels->lanes, at = tile * lanes * cols;
    return (struct q8_tile){all.q + at, all.scale + at / 32, all.sum + at / 16};
}

static float *float_tile_at(const struct step *s, int tile, int64_t cols)
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

static void unpack_panel(struct step *s, const struct weight *w, int64_t row0, int n, struct panel *panel)
{
    const struct format_info *f = &format_info[w->format];
    const uint8_t *row = w->data + row0 * row_bytes(w->format, w->cols);
    *panel = (struct panel){panel->code, panel->scale, panel->min, w->cols, n, f->group, f->bias, format_has_min(w->format)};
    for (int r = 0; r < n; r++) {
        int64_t groups = r * (w->cols / f->group);
        s->kernels->unpack[w->format](row + r * row_bytes(w->format, w->cols), w->cols, panel->code + r * w->cols,
                                      panel->scale + groups, panel->min + groups);
    }
}

static void dot_rows(struct step *s, const struct weight *w, int64_t row0, int n, struct q8_row x, int thread, float *out)
{
    struct panel *panel = &s->scratch->thread[thread].panel;
    if (s->kernels->dot[w->format]) {
        s->kernels->dot[w->format](w->data + row0 * row_bytes(w->format, w->cols), n, w->cols, x, out);
        return;
    }
    for (int r = 0; r < n; r += PANEL_ROWS) {
        unpack_panel(s, w, row0 + r, n - r < PANEL_ROWS ? n - r : PANEL_ROWS, panel);
        s->kernels->dot_codes(panel, x, out + r);
    }
}

static void one_token_q8(struct step *s, const struct weight *w, int64_t row0, int n, int thread, float *out)
{
    struct thread_scratch *mine = &s->scratch->thread[thread];
    float rest[MAX_CHUNK_ROWS];
    dot_rows(s, w, row0, n, mine->q8, thread, out);
    if (s->scratch->activations == ACTIVATIONS_INT8X2) {
        dot_rows(s, w, row0, n, mine->rest, thread, rest);
        s->kernels->add(out, rest, n);
    }
}

static void one_token_float(struct step *s, const struct weight *w, int64_t row0, int n, int thread, float *out)
{
    const struct kernels *k = s->kernels;
    struct thread_scratch *mine = &s->scratch->thread[thread];
    int64_t bytes = row_bytes(w->format, w->cols);
    if (k->dot_float[w->format]) {
        k->dot_float[w->format](w->data + row0 * bytes, n, w->cols, mine->row, out);
        return;
    }
    for (int r = 0; r < n; r++) {
        k->to_float[w->format](w->data + (row0 + r) * bytes, w->cols, mine->float_panel);
        k->dot_float[FORMAT_F32]((const uint8_t *)mine->float_panel, 1, w->cols, mine->row, out + r);
    }
}

static void many_tokens_q8(struct step *s, const struct weight *w, int64_t row0, int n, struct input in, int thread,
                           float *out, int64_t out_stride)
{
    struct panel *panel = &s->scratch->thread[thread].panel;
    int lanes = s->kernels->lanes;
    float rest[MAX_LANES * PANEL_ROWS];
    unpack_panel(s, w, row0, n, panel);
    for (int first = 0; first < in.n_tokens; first += lanes, out += lanes * out_stride) {
        struct q8_tile x = q8_tile_at(s, s->scratch->q8, first / lanes, in.cols);
        int tokens = in.n_tokens - first < lanes ? in.n_tokens - first : lanes;
        s->kernels->gemm(panel, &x, tokens, out, out_stride);
        if (s->scratch->activations != ACTIVATIONS_INT8X2)
            continue;
        x = q8_tile_at(s, s->scratch->rest, first / lanes, in.cols);
        s->kernels->gemm(panel, &x, tokens, rest, PANEL_ROWS);
        for (int t = 0; t < tokens; t++)
            s->kernels->add(out + t * out_stride, rest + t * PANEL_ROWS, n);
    }
}

static void many_tokens_float(struct step *s, const struct weight *w, int64_t row0, int n, struct input in, int thread,
                              float *out, int64_t out_stride)
{
    const struct kernels *k = s->kernels;
    float *panel = s->scratch->thread[thread].float_panel;
    int64_t bytes = row_bytes(w->format, w->cols);
    for (int r = 0; r < n; r += FLOAT_ROWS) {
        int rows = n - r < FLOAT_ROWS ? n - r : FLOAT_ROWS;
        for (int i = 0; i < rows; i++)
            k->to_float[w->format](w->data + (row0 + r + i) * bytes, w->cols, panel + i * w->cols);
        for (int first = 0; first < in.n_tokens; first += k->lanes) {
            int tokens = in.n_tokens - first < k->lanes ? in.n_tokens - first : k->lanes;
            k->gemm_float(panel, w->cols, 1, rows, w->cols, float_tile_at(s, first / k->lanes, in.cols), tokens,
                          out + first * out_stride + r, out_stride);
        }
    }
}

void multiply_panel(struct step *s, const struct weight *w, int64_t row0, int n, struct input in, int thread, float *out,
                    int64_t out_stride)
{
    if (in.n_tokens == 1 && uses_q8(s, w))
        one_token_q8(s, w, row0, n, thread, out);
    else if (in.n_tokens == 1)
        one_token_float(s, w, row0, n, thread, out);
    else if (uses_q8(s, w))
        many_tokens_q8(s, w, row0, n, in, thread, out, out_stride);
    else
        many_tokens_float(s, w, row0, n, in, thread, out, out_stride);
}

int64_t chunk_rows(const struct weight *w, int n_tokens)
{
    if (n_tokens > 1)
        return PANEL_ROWS;
    int64_t rows = CHUNK_BYTES / row_bytes(w->format, w->cols) / 8 * 8;
    return rows < 8 ? 8 : rows > MAX_CHUNK_ROWS ? MAX_CHUNK_ROWS : rows;
}

/* Makes the input of an operation ready. Many tokens: ends with a barrier, whose answer it returns. */
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

static int prepare_op(struct step *s, const struct op *op, struct input *in, struct team *team, int thread)
{
    *in = (struct input){.n_tokens = s->n_tokens, .cols = op->target[0].weight.cols};
    for (int i = 0; i < op->n_targets; i++)
        *(uses_q8(s, &op->target[i].weight) ? &in->need_q8 : &in->need_float) = 1;
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
        int64_t rows = chunk_rows(&op->target[i].weight, s->n_tokens);
        end[i] = n_chunks += (op->target[i].weight.rows + rows - 1) / rows;
    }
    float *out = s->scratch->thread[thread].out;
    for (int64_t chunk; (chunk = team_next(team, thread, n_chunks)) >= 0;) {
        int i = 0;
        while (chunk >= end[i])
            i++;
        const struct target *to = &op->target[i];
        int64_t rows = chunk_rows(&to->weight, s->n_tokens), row0 = (chunk - (i ? end[i - 1] : 0)) * rows;
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
    int64_t rows = chunk_rows(&gate->weight, s->n_tokens), n_chunks = (gate->weight.rows + rows - 1) / rows;
    int64_t stride = s->plan->width[gate->slot];
    float *g = s->scratch->thread[thread].out, *u = g + (s->n_tokens > 1 ? s->n_tokens * PANEL_ROWS : MAX_CHUNK_ROWS);
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
