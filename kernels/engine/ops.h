/* What the operations of a plan are made of: the functions of this folder that each thread of a team calls. */
#ifndef SUBBYTE_OPS_H
#define SUBBYTE_OPS_H
#include "step.h"
#include "threads/pool.h"

/* The operations: called by every thread of the team, each ends with a barrier and returns its answer. */
int run_linear(struct step *s, const struct op *op, struct team *team, int thread);
int run_gated(struct step *s, const struct op *op, struct team *team, int thread);
int run_attention(struct step *s, const struct op *op, struct team *team, int thread);
int run_head(struct step *s, struct team *team, int thread);
int64_t head_chunks(const struct plan *plan);  /* parts the vocabulary is walked in */
/* Floats of memory for attention over caches of n_ctx positions: of each thread, and of each unit. */
int64_t attention_floats(const struct plan *plan, int lanes, int64_t n_ctx);
int64_t attention_unit_floats(const struct plan *plan);

/* rope_kv.c: what happens to queries, keys and values before attention. */
void fill_rope_tables(struct step *s, struct team *team, int thread);
const struct segment *segment_of(const struct step *s, int row);
static inline int64_t position(const struct segment *seg, int row) { return seg->pos + row - seg->row; }
/* Keys and values of one KV head of a layer. */
struct kv_head cache_head(const struct step *s, const struct cache *cache, int layer, int head);
/* Norms and rotates heads of one row in place; norm may be NULL. */
void rotate_heads(const struct step *s, const struct op *op, float *heads, int n_head, const float *norm, int row);
/* Rotates the keys of n KV heads of one row, from head0 on, and stores them and the values in the cache. */
void append_heads(const struct step *s, const struct op *op, const struct segment *seg, int row, int head0, int n);

/* quantize_input.c: the input of a projection, for linear.c and lm_head.c. */
struct input {                  /* one row in each thread's own scratch, or rows or tiles in the shared one */
    int n_tokens;
    int64_t cols;
    int need_q8, need_bf16, need_float;
};
/* Makes x row rows[t] (or t, if rows is NULL) ready for every token of `in`. Many tokens: ends with a barrier, whose answer it
 * returns. */
int prepare(struct step *s, const float *x, int64_t stride, const int32_t *rows, const float *norm, float eps,
            struct input in, struct team *team, int thread);

/* matmul.c: rows of a matrix times a prepared input. */
int uses_q8(const struct step *s, const struct weight *w);
/* Notes in `in` what form of activations w meets. */
void add_need(const struct step *s, const struct weight *w, struct input *in);
/* How many rows of w one chunk takes: what multiply_panel gets as n at most. */
int64_t chunk_rows(const struct step *s, const struct weight *w, int n_tokens);
/* out[t * out_stride + r] = rows row0 .. row0 + n - 1 times all tokens of the prepared input. */
void multiply_panel(struct step *s, const struct weight *w, int64_t row0, int n, struct input in, int thread, float *out,
                    int64_t out_stride);

#endif
