/* What operations are made of: functions that each thread of a team calls. */
#ifndef SUBBYTE_OPS_H
#define SUBBYTE_OPS_H
#include "step.h"
#include "threads/pool.h"

/* cos and sin of every row's position for every kind of rope, once a step; all layers share them (ops/rope_kv.c). */
void fill_rope_tables(struct step *s, struct team *team, int thread);

/* ---- quantize_input.c: the input of projections ---- */

struct input {                  /* one row in each thread's own scratch, or rows or tiles in the shared one */
    int n_tokens;
    int64_t cols;
    int need_q8, need_bf16, need_float;
};
/* Makes x row rows[t] (or t, if rows is NULL) ready for every token of `in`. Many tokens: ends with a barrier, whose answer it
 * returns. */
int prepare(struct step *s, const float *x, int64_t stride, const int32_t *rows, const float *norm, float eps,
            struct input in, struct team *team, int thread);
/* The same of in[0] for all tokens and matrices of an operation; sets `in`. */
int prepare_op(struct step *s, const struct op *op, struct input *in, struct team *team, int thread);

/* ---- matmul.c: rows of a matrix times a prepared input ---- */

/* Notes in `in` what form of activations w is multiplied with. */
void add_need(const struct step *s, const struct weight *w, struct input *in);
/* How many rows of w one chunk takes: what multiply_panel gets as n at most. */
int64_t chunk_rows(const struct step *s, const struct weight *w, int n_tokens);
/* out[t * out_stride + r] = rows row0 .. row0 + n - 1 times all tokens of the prepared input. */
void multiply_panel(struct step *s, const struct weight *w, int64_t row0, int n, struct input in, int thread, float *out,
                    int64_t out_stride);

#endif
