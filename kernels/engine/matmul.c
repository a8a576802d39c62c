/* Rows of a matrix times the prepared input: the code path is chosen by block format, activation type and batch size. */
#include <string.h>
#include "ops.h"

enum {
    CHUNK_BYTES = 32 * 1024,        /* of weights that a thread takes at a time of a small batch */
    MIN_CHUNK_ROWS = 8
};

static int uses_q8(const struct step *s, const struct weight *w)
{
    return format_info[w->format].group != 0 && s->scratch->activations != ACTIVATIONS_FLOAT;
}

static int uses_bf16(const struct step *s, const struct weight *w)
{
    return w->format == FORMAT_BF16 && s->kernels->gemm_bf16 && w->cols % 2 == 0 && s->scratch->activations == ACTIVATIONS_INT8;
}

void add_need(const struct step *s, const struct weight *w, struct input *in)
{
    if (uses_q8(s, w))
        in->need_q8 = 1;
    else if (uses_bf16(s, w))
        in->need_bf16 = 1;
    else
        in->need_float = 1;
}

/* Folded: group scales multiplied into the codes, which gemm likes best. dot_codes takes groups of 16 and 32 only. */
static void unpack_panel(struct step *s, const struct weight *w, int64_t row0, int n, int folded, struct panel *panel)
{
    const struct format_info *f = &format_info[w->format];
    const int64_t bytes = row_bytes(w->format, w->cols), n_groups = w->cols / f->group;
    folded = folded && s->kernels->fold[w->format];
    panel->k = w->cols, panel->n_rows = n;
    panel->has_factor = format_has_factor(w->format), panel->has_min = format_has_min(w->format);
    panel->group = folded ? FOLDED : f->group, panel->min_group = f->group;
    panel->bias = folded ? folded_bias(w->format) : f->bias, panel->max_code = folded ? UINT8_MAX : f->max_code;
    for (int r = 0; r < n; r++) {
        uint8_t *code = panel->code + r * w->cols;
        float *scale = panel->scale + r * n_groups;
        s->kernels->unpack[w->format](w->data + (row0 + r) * bytes, w->cols, code, scale, panel->factor + r * (w->cols / 256),
                                      panel->min + r * n_groups);
        if (folded)
            s->kernels->fold[w->format](w->cols, code, scale);
    }
}

/* out[t * out_stride + r] for n_tokens consecutive rows of activations. */
static void gemv_rows(struct step *s, const struct weight *w, int64_t row0, int n, struct q8_row x, int n_tokens, int thread,
                     float *out, int64_t out_stride)
{
    struct panel *panel = &s->scratch->thread[thread].panel;
    if (s->kernels->dot[w->format]) {
        s->kernels->dot[w->format](w->data + row0 * row_bytes(w->format, w->cols), n, w->cols, x, n_tokens, out, out_stride);
        return;
    }
    for (int r = 0; r < n; r += PANEL_ROWS) {
        unpack_panel(s, w, row0 + r, n - r < PANEL_ROWS ? n - r : PANEL_ROWS, 0, panel);
        for (int t = 0; t < n_tokens; t++)
            s->kernels->dot_codes(panel, q8_token(x, t, w->cols), out + t * out_stride + r);
    }
}

/* With INT8X2 the residuals of the tokens follow them as so many tokens more: each block is unpacked once for both. */
static void gemv_q8(struct step *s, const struct weight *w, int64_t row0, int n, struct q8_row x, int n_tokens, int thread, float *out,
                    int64_t out_stride)
{
    float both[2 * MAX_SMALL_BATCH * MAX_CHUNK_ROWS];
    if (s->scratch->activations != ACTIVATIONS_INT8X2) {
        gemv_rows(s, w, row0, n, x, n_tokens, thread, out, out_stride);
        return;
    }
    gemv_rows(s, w, row0, n, x, 2 * n_tokens, thread, both, n);
    for (int t = 0; t < n_tokens; t++) {
        memcpy(out + t * out_stride, both + t * n, n * sizeof(float));
        s->kernels->add(out + t * out_stride, both + (n_tokens + t) * n, n);
    }
}

static void gemv_float(struct step *s, const struct weight *w, int64_t row0, int n, const struct input *in, int thread, float *out,
                       int64_t out_stride)
{
    const float *x = in->at.row;
    const struct kernels *k = s->kernels;
    float *panel = s->scratch->thread[thread].float_panel;
    int64_t bytes = row_bytes(w->format, w->cols);
    if (k->dot_float[w->format]) {
        k->dot_float[w->format](w->data + row0 * bytes, n, w->cols, x, in->n_tokens, out, out_stride);
        return;
    }
    for (int r = 0; r < n; r += PANEL_ROWS) {
        int rows = n - r < PANEL_ROWS ? n - r : PANEL_ROWS;
        for (int i = 0; i < rows; i++)
            k->to_float[w->format](w->data + (row0 + r + i) * bytes, w->cols, panel + i * w->cols);
        k->dot_float[FORMAT_F32]((const uint8_t *)panel, rows, w->cols, x, in->n_tokens, out + r, out_stride);
    }
}

static void gemm_q8(struct step *s, const struct weight *w, int64_t row0, int n, const struct input *in, int n_tokens, int thread,
                    float *out, int64_t out_stride)
{
    struct panel *panel = &s->scratch->thread[thread].panel;
    int lanes = s->kernels->lanes, at_once = lanes * s->kernels->gemm_tiles;
    float residual[MAX_TILES * MAX_LANES * PANEL_ROWS];
    unpack_panel(s, w, row0, n, 1, panel);
    for (int first = 0; first < n_tokens; first += at_once, out += at_once * out_stride) {
        struct q8_tile x = q8_tile_at(in->at.q8, first * in->cols);
        int tokens = n_tokens - first < at_once ? n_tokens - first : at_once;
        s->kernels->gemm(panel, &x, tokens, out, out_stride);
        if (s->scratch->activations != ACTIVATIONS_INT8X2)
            continue;
        x = q8_tile_at(in->at.residual, first * in->cols);
        s->kernels->gemm(panel, &x, tokens, residual, PANEL_ROWS);
        for (int t = 0; t < tokens; t++)
            s->kernels->add(out + t * out_stride, residual + t * PANEL_ROWS, n);
    }
}

static void gemm_float(struct step *s, const struct weight *w, int64_t row0, int n, const struct input *in, int thread, float *out,
                       int64_t out_stride)
{
    const struct kernels *k = s->kernels;
    float *panel = s->scratch->thread[thread].float_panel;
    int64_t bytes = row_bytes(w->format, w->cols);
    for (int r = 0; r < n; r += PANEL_ROWS) {
        int rows = n - r < PANEL_ROWS ? n - r : PANEL_ROWS;
        for (int i = 0; i < rows; i++)
            k->to_float[w->format](w->data + (row0 + r + i) * bytes, w->cols, panel + i * w->cols);
        k->gemm_float(panel, rows, w->cols, in->at.tile, in->n_tokens, out + r, out_stride);
    }
}

static void multiply_bf16(struct step *s, const struct weight *w, int64_t row0, int n, const struct input *in, float *out,
                          int64_t out_stride)
{
    const uint8_t *rows = w->data + row0 * row_bytes(w->format, w->cols);
    if (is_small_batch(in->n_tokens))
        s->kernels->dot_bf16(rows, n, w->cols, in->at.row, in->n_tokens, out, out_stride);
    else
        s->kernels->gemm_bf16(rows, n, w->cols, in->at.bf16_tile, in->n_tokens, out, out_stride);
}

/* Whole tiles by gemm, and row by row what is few: a small batch, or the tokens behind the last whole tile. */
static void multiply_q8(struct step *s, const struct weight *w, int64_t row0, int n, const struct input *in, int thread, float *out,
                        int64_t out_stride)
{
    int n_rows = n_row_tokens(s, in->n_tokens), n_tiled = in->n_tokens - n_rows;
    if (n_tiled)
        gemm_q8(s, w, row0, n, in, n_tiled, thread, out, out_stride);
    if (n_rows)
        gemv_q8(s, w, row0, n, in->at.rows, n_rows, thread, out + n_tiled * out_stride, out_stride);
}

void multiply_panel(struct step *s, const struct weight *w, int64_t row0, int n, const struct input *in, int thread, float *out,
                    int64_t out_stride)
{
    *s->scratch->thread[thread].weight_bytes += n * row_bytes(w->format, w->cols);
    if (uses_q8(s, w))
        multiply_q8(s, w, row0, n, in, thread, out, out_stride);
    else if (uses_bf16(s, w))
        multiply_bf16(s, w, row0, n, in, out, out_stride);
    else if (are_few_floats(s, in->n_tokens))
        gemv_float(s, w, row0, n, in, thread, out, out_stride);
    else
        gemm_float(s, w, row0, n, in, thread, out, out_stride);
}

int64_t chunk_rows(const struct step *s, const struct weight *w, int n_tokens)
{
    if (!is_small_batch(n_tokens))
        return PANEL_ROWS;
    int64_t rows = CHUNK_BYTES / row_bytes(w->format, w->cols) / MIN_CHUNK_ROWS * MIN_CHUNK_ROWS;
    return rows < MIN_CHUNK_ROWS ? MIN_CHUNK_ROWS : rows > MAX_CHUNK_ROWS ? MAX_CHUNK_ROWS : rows;
}
