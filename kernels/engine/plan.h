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
#include "threads/sigbus.h"

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
    struct address_range *weight_range; /* [n_weight_ranges]: the bytes of every matrix */
    int n_weight_ranges;
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

#endif
