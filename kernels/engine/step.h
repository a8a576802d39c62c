/* One run of a plan over some tokens, and the memory it works in. */
#ifndef SUBBYTE_STEP_H
#define SUBBYTE_STEP_H
#include "plan.h"

/* Some consecutive rows of a step that continue one sequence: row .. row + n - 1 hold positions pos .. pos + n - 1. */
struct segment {
    struct cache *cache;
    int row, n;
    int64_t pos;
};

/* How activations meet quantized weights. */
enum activations {
    ACTIVATIONS_INT8,           /* int8 with a scale per 32: fast. BF16 weights meet activations as bf16, given gemm_bf16 */
    ACTIVATIONS_INT8X2,         /* int8, and its quantization residual as int8 again: some 15 bits for twice the work */
    ACTIVATIONS_FLOAT,          /* float, weights through to_float: the slow baseline of the other two */
};

/* Where activations lie that are ready to meet weights, as rows or as tiles one after the other. */
struct prepared {
    float *row;                 /* of few tokens as floats: [n_tokens][cols] */
    struct q8_row rows;         /* of the tokens that n_row_tokens counts, then (INT8X2) the quantization residual of each */
    struct q8_tile q8;
    struct q8_tile residual;    /* the quantization residual (INT8X2) */
    float *tile;                /* the same as floats: [tile][cols][lanes] */
    uint16_t *bf16_tile;        /* the same as bf16: [tile][cols / 2][lanes][2] */
};

/* What one thread needs for itself. */
struct thread_scratch {
    float *row;                 /* [max_cols] */
    struct q8_row q8;           /* `lanes` rows, or what an operation asks for: one token and its residual (INT8X2); or tokens on their
                                 * way to a tile */
    struct q8_row residual;     /* `lanes` rows on their way to a tile: the quantization residual (INT8X2) */
    struct panel panel;         /* PANEL_ROWS x max_cols */
    float *float_panel;         /* [PANEL_ROWS][max_cols] */
    float *out;                 /* results on their way to a slot, or `lanes` rows on their way to a tile */
    float *floats;              /* what an operation asks for, see scratch_need */
    int64_t *weight_bytes;      /* multiplied with in the current step */
};

enum { MAX_CHUNK_ROWS = 128, MAX_SMALL_BATCH = 4 };

struct scratch {
    int n_batch, n_threads;
    int64_t n_ctx;              /* of the longest cache */
    enum activations activations;
    int reads_ahead;            /* the model is larger than memory, see ops/read_ahead.c */
    float **slot;               /* [n_slots][n_batch][width] */
    struct prepared prepared;   /* activations of the current operation */
    float *cos, *sin;           /* [n_ropes][n_batch][n_pairs] */
    struct thread_scratch *thread;
    float *shared;              /* what an operation asks for, see scratch_need */
    int *counter;
    int n_counters;
    void *memory;
    int64_t memory_bytes;
};

enum head_kind { HEAD_NONE, HEAD_LOGITS, HEAD_LOGPROB };

/* One run of a plan over n_tokens rows. */
struct step {
    const struct plan *plan;
    const struct kernels *kernels;
    struct scratch *scratch;
    const int32_t *token;       /* [n_tokens] */
    int n_tokens;
    int first_op, last_op;       /* operations first_op .. last_op - 1 run */
    const struct segment *segment;
    int n_segments;
    enum head_kind head;
    const int32_t *head_row;    /* [n_head_rows]: the rows whose next token is wanted */
    int n_head_rows;
    const int32_t *wanted;      /* HEAD_LOGPROB: [n_head_rows] token ids */
    float *logits;              /* HEAD_LOGITS: [n_head_rows][output.rows] */
    float *logprob;             /* HEAD_LOGPROB: [n_head_rows] */
    uint8_t *greedy;            /* HEAD_LOGPROB: [n_head_rows]: whether no token has a greater logit than the wanted one */
    int finite;                 /* set by the head: whether every logit was finite */
    /* what it took, all threads together, unless cancelled: none of it should grow with their number */
    int64_t n_barriers, n_chunks, weight_bytes;
};

/* NULL: no memory. n_ctx: the longest cache a step will meet. */
struct scratch *scratch_new(const struct plan *plan, const struct kernels *kernels, int n_batch, int n_threads,
                            int64_t n_ctx, enum activations activations);
void scratch_free(struct scratch *scratch);
/* 0, POOL_CANCELLED or an errno. */
int step_run(struct step *step, int (*poll)(void *), void *poll_arg);

/* What lies behind the first n values of tiles one after the other. */
static inline struct q8_tile q8_tile_at(struct q8_tile all, int64_t n)
{
    return (struct q8_tile){all.q + n, all.scale + n / 32, all.sum + n / 16};
}

/* Whether so many tokens meet weights row by row (gemv), and not as tiles (gemm). Measured: with more, weights that are unpacked once for all
 * of them cost less, on every instruction set and of every format, but a few percent here and there. */
static inline int is_small_batch(int n_tokens)
{
    return n_tokens <= MAX_SMALL_BATCH;
}

/* The same of weights that are multiplied as floats: a tile that is no more than half full costs as much as rows, or more. */
static inline int are_few_floats(const struct step *s, int n_tokens)
{
    return 2 * n_tokens <= s->kernels->lanes;
}

/* How many of so many tokens meet quantized weights so: a small batch, else those behind the last whole tile if they are one or two. */
static inline int n_row_tokens(const struct step *s, int n_tokens)
{
    int rest = n_tokens % s->kernels->lanes;
    if (is_small_batch(n_tokens))
        return n_tokens;
    return rest <= MAX_SMALL_BATCH / 2 ? rest : 0;
}

#endif
