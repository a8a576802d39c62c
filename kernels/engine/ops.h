/* What operations are made of: functions that each thread of a team calls. */
#ifndef SUBBYTE_OPS_H
#define SUBBYTE_OPS_H
#include <math.h>
#include "step.h"
#include "threads/pool.h"

/* cos and sin of every row's position for every kind of rope, once a step; all layers share them (ops/rope_kv.c). */
void fill_rope_tables(struct step *s, struct team *team, int thread);

/* ---- quantize_input.c: the input of projections ---- */

/* Where the input of projections comes from: token t has row rows[t] (or t, if rows is NULL) of x. */
struct source {
    const float *x;
    int64_t stride;
    const int32_t *rows;
    const float *norm;          /* RMSNorm weight applied first, or NULL */
    float eps;
};

/* The input of projections made ready, in the forms that their weights need. */
struct input {
    int n_tokens;
    int64_t cols;
    int need_q8, need_bf16, need_float;
    struct prepared at;         /* where it is */
};
/* Makes a source ready for all tokens of `in`: one in each thread's own memory, more in what all share, ending with a barrier, whose
 * answer it returns. */
int prepare(struct step *s, const struct source *source, struct input *in, struct team *team, int thread);
/* The same of in[0] for all tokens and matrices of an operation; sets `in`. */
int prepare_op(struct step *s, const struct op *op, struct input *in, struct team *team, int thread);
/* Its parts, for operations that make several inputs ready at once: how many tasks one takes, each of them, to in->at. */
int prepare_tasks(const struct step *s, const struct input *in);
void prepare_task(struct step *s, const struct source *source, const struct input *in, int task, int thread);
/* Where they can go: the memory that all threads share behind so many values of inputs there, whole tiles of them. */
struct prepared prepared_behind(const struct step *s, int64_t values);
/* One token, to in->at, which is the calling thread's own. */
void prepare_one(struct step *s, const struct source *source, const struct input *in, int thread);

/* ---- matmul.c: rows of a matrix times a prepared input ---- */

/* Notes in `in` what form of activations w is multiplied with. */
void add_need(const struct step *s, const struct weight *w, struct input *in);
/* How many rows of w one chunk takes: what multiply_panel gets as n at most. */
int64_t chunk_rows(const struct step *s, const struct weight *w, int n_tokens);
/* out[t * out_stride + r] = rows row0 .. row0 + n - 1 times all tokens of the prepared input. */
void multiply_panel(struct step *s, const struct weight *w, int64_t row0, int n, const struct input *in, int thread, float *out,
                    int64_t out_stride);

/* ---- activations of gated linear units ---- */

#define ACTIVATIONS "silu gelu relu clamped_silu"
enum { SILU, GELU, RELU, CLAMPED_SILU };        /* in that order */

/* out[n] = activation(gate) * up; without a gate, up is both. */
static inline void activate(const struct kernels *kernels, int64_t activation, const float *gate, const float *up, int64_t n, float *out)
{
    switch (activation) {
    case SILU: kernels->silu_mul(gate, up, n, out); break;
    case GELU: kernels->gelu_mul(gate, up, n, out); break;
    case RELU: kernels->relu_mul(gate, up, n, out); break;
    default: kernels->clamped_silu_mul(gate, up, n, out);
    }
}

/* 1 / (1 + exp(-z)); NaN of an infinite z, which only damaged weights make. */
static inline float sigmoid(float z)
{
    return isfinite(z) ? 1 / (1 + expf(-z)) : NAN;
}

#endif
