/* A model's forward pass as data: a flat list of operations that models/ recorded once, run here once a step without
 * Python.
 *
 * Values live in slots: float [n_tokens][width], one row a token. An operation is thick: all that can be done without
 * looking at other threads' results happens between two barriers. What differs between one token and many is the
 * business of each operation's file:
 *   linear.c     projections, gated feed-forward, of inputs that quantize_input.c prepares and matmul.c multiplies
 *   rope_kv.c      rope, and keys and values into the cache
 *   attention.c     attention
 *   lm_head.c       logits, or log-probabilities without logits
 *   step.c       slots, scratch memory and the loop over operations */
#ifndef SUBBYTE_PLAN_H
#define SUBBYTE_PLAN_H
#include "cpu/kernel_table.h"
#include "threads/pool.h"

struct weight {
    const uint8_t *data;
    enum format format;
    int64_t rows, cols;         /* cols is the row length */
};

struct rope {
    const double *freq;         /* [n_pairs]: angle of pair p at position pos = pos * freq[p] */
    const double *freq_long;    /* the same in a cache of more than n_ctx_short positions (longrope; for others it is freq) */
    int64_t n_ctx_short;
    int n_pairs;
    float magnitude;            /* multiplies cos and sin (YaRN, longrope) */
    int interleaved;            /* pairs (2p, 2p+1), else (p, p + n_pairs) */
};

enum op_kind { OP_EMBED, OP_LINEAR, OP_GATED, OP_ATTENTION, OP_NORM };
enum activation { ACT_SILU, ACT_GELU };
enum { MAX_TARGETS = 3, MAX_ROPES = 2 };

struct target {
    struct weight weight;
    const float *bias;          /* [rows] or NULL */
    int slot;
};

struct attention {
    int q, k, v;                /* slots: [n_head][head_dim], [n_head_kv][head_dim] twice; q and k may be changed in place */
    int n_head, n_head_kv, head_dim;
    int layer;                  /* which part of the cache */
    int rope;                   /* index into plan.rope, or -1 */
    int64_t window;             /* 0: all earlier positions are visible */
    float scale;
    const float *q_norm, *k_norm; /* [head_dim] or NULL: RMSNorm of every head before rope */
};

struct op {
    enum op_kind kind;
    int src;                    /* slot read by LINEAR, GATED and NORM */
    const float *norm;          /* RMSNorm weight applied to src first, or NULL (NORM: always given) */
    float eps;
    int n_targets;              /* LINEAR: the projections of one input. GATED: gate and up, result in target[0].slot.
                                 * EMBED, NORM: target[0] */
    struct target target[MAX_TARGETS];
    int accumulate;             /* LINEAR and NORM: add to the target instead of replacing it */
    enum activation activation; /* GATED */
    float scale;                /* EMBED: multiplies the rows */
    struct attention attention;
};

struct cache_layer { int n_head_kv, head_dim; };

struct plan {
    struct op *op;
    int n_ops;
    int *width;                 /* floats a token in each slot */
    int n_slots;
    struct rope rope[MAX_ROPES];
    int n_ropes;
    struct cache_layer *layer;
    int n_layers;
    int max_cols;               /* longest row of any weight */
    /* the head */
    int src;
    const float *norm;
    float eps;
    struct weight output;
    float softcap;              /* logits become softcap * tanh(logits / softcap), if > 0 */
};

/* Keys and values of all layers, [layer][k, v][head][n_ctx][padded_row_bytes(format, head_dim)]. */
struct cache {
    uint8_t *data;
    int64_t *offset;            /* [n_layers + 1]: where each layer starts, and the end */
    int64_t n_ctx;
    enum format format;         /* F16, F32 or Q8_0 */
};

/* Some consecutive rows of a step that continue one sequence: row .. row + n - 1 hold positions pos .. pos + n - 1. */
struct segment {
    struct cache *cache;
    int row, n;
    int64_t pos;
};

/* How activations meet quantized weights. */
enum activations {
    ACTIVATIONS_INT8,           /* int8 with a scale per 32: fast. BF16 weights meet many tokens as bf16, given gemm_bf16 */
    ACTIVATIONS_INT8X2,         /* int8, and the rest that leaves as int8 again: some 15 bits for twice the work */
    ACTIVATIONS_FLOAT,          /* float, weights through to_float: the slow yardstick of the other two */
};

/* What one thread needs for itself. */
struct thread_scratch {
    float *row;                 /* [max_cols] */
    struct q8_row q8;           /* `lanes` rows: one token and what q8 leaves of it (INT8X2); or tokens on their way to a tile */
    struct q8_row rest;         /* `lanes` rows on their way to a tile: what q8 leaves (INT8X2) */
    struct panel panel;         /* PANEL_ROWS x max_cols */
    float *float_panel;         /* [PANEL_ROWS][max_cols] */
    float *out;                 /* results on their way to a slot, or `lanes` rows on their way to a tile */
    float *attention;
    int64_t *weight_bytes;      /* multiplied with in the current step */
};

enum { MAX_CHUNK_ROWS = 128, MAX_FEW = MAX_LANES / 2, UNITS_PER_THREAD = 4 };

struct scratch {
    int n_batch, n_threads;
    enum activations activations;
    float **slot;               /* [n_slots][n_batch][width] */
    struct q8_tile q8;          /* activations of the current operation, tile after tile */
    struct q8_tile rest;        /* what q8 leaves of them (INT8X2) */
    struct q8_row few;          /* or as rows, if they are few: each token's, then (INT8X2) what q8 leaves of each */
    float *tile;                /* the same as floats: [tile][cols][lanes] */
    uint16_t *bf16_tile;        /* the same as bf16: [tile][cols / 2][lanes][2] */
    float *cos, *sin;           /* [n_ropes][n_batch][n_pairs] */
    struct thread_scratch *thread;
    int n_units;                /* attention: how many have room in parts, n_threads or more, see attention.c */
    int64_t unit_floats;
    float *parts;               /* [n_units][unit_floats] */
    int *parts_done;            /* [n_units]; zero between operations */
    float *partial_max;         /* head: [n_batch][vocabulary chunks] */
    double *partial_sum;
    int64_t attention_floats;   /* of each thread's attention scratch */
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
    int finite;                 /* set by the head: whether every logit was finite */
    int lost;                   /* set when weights could not be read and zeros took their place, see sigbus.h */
    /* what it took, all threads together, unless cancelled: none of it should grow with their number */
    int64_t n_barriers, n_chunks, weight_bytes;
};

/* NULL: no memory. n_ctx: the longest cache a step will meet. */
struct scratch *scratch_new(const struct plan *plan, const struct kernels *kernels, int n_batch, int n_threads,
                            int64_t n_ctx, enum activations activations);
void scratch_free(struct scratch *scratch);
/* 0, POOL_CANCELLED or an errno. */
int step_run(struct step *step, int (*poll)(void *), void *poll_arg);

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
/* Tile t of those that lie one after the other in the shared buffers. */
struct q8_tile q8_tile_at(const struct step *s, struct q8_tile all, int tile, int64_t cols);
float *float_tile_at(const struct step *s, int tile, int64_t cols);
uint16_t *bf16_tile_at(const struct step *s, int tile, int64_t cols);

/* matmul.c: rows of a matrix times a prepared input. */
int uses_q8(const struct step *s, const struct weight *w);
/* Whether so many tokens meet quantized weights row by row, and not as tiles. */
int are_few(const struct step *s, int n_tokens);
/* Notes in `in` what form of activations w meets. */
void add_need(const struct step *s, const struct weight *w, struct input *in);
/* How many rows of w one chunk takes: what multiply_panel gets as n at most. */
int64_t chunk_rows(const struct step *s, const struct weight *w, int n_tokens);
/* out[t * out_stride + r] = rows row0 .. row0 + n - 1 times all tokens of the prepared input. */
void multiply_panel(struct step *s, const struct weight *w, int64_t row0, int n, struct input in, int thread, float *out,
                    int64_t out_stride);

#endif
