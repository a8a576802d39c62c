/* A model's forward pass as data: a flat list of operations that models/ recorded once, run once a step without Python.
 *
 * Values live in slots: float [n_tokens][width], one row a token. An operation is thick: all that can be done without
 * looking at other threads' results happens between two barriers. What differs between one token and many is the
 * business of each operation's file in ops/, and nothing else knows the kinds of operations (operation.h):
 *   ops/linear.c, glu.c    projections of inputs that quantize_input.c prepares and matmul.c multiplies
 *   ops/attention.c        attention, after rope_kv.c: rope, and keys and values into the cache
 *   ops/lm_head.c          logits, or log-probabilities without logits
 *   step.c, scratch.c      the loop over operations, and the memory it works in */
#ifndef SUBBYTE_PLAN_H
#define SUBBYTE_PLAN_H
#include "cpu/kernel_table.h"
#include "threads/sigbus.h"

struct weight {
    const uint8_t *data;
    enum format format;
    int64_t rows, cols;         /* cols is the row length */
};

struct matrix {
    struct weight weight;
    const float *bias;          /* [rows] or NULL */
};

struct vector {
    const float *data;          /* [n], or NULL */
    int64_t n;
};

struct rope {
    const double *freq;         /* [n_pairs]: angle of pair p at position pos = pos * freq[p] */
    const double *freq_long;    /* the same in a cache of more than n_ctx_short positions (longrope; for others it is freq) */
    int64_t n_ctx_short;
    int n_pairs;
    float magnitude;            /* multiplies cos and sin (YaRN, longrope) */
    int interleaved;            /* pairs (2p, 2p+1), else (p, p + n_pairs) */
};

enum { MAX_OPERANDS = 4, MAX_ROPES = 2 };

struct op {
    const struct operation *kind;
    int n_in, n_out, n_matrices;
    int in[MAX_OPERANDS], out[MAX_OPERANDS]; /* slots, no two the same; in[0] is what matrices are multiplied with */
    const float *norm;          /* RMSNorm weight [width of in[0]] applied to in[0] first, or NULL */
    float eps;
    struct matrix matrix[MAX_OPERANDS];
    const void *parameters;     /* what is special to the kind: its struct, in its file */
    int state;                  /* which part of a cache is its own, if the kind keeps something there */
};

struct plan {
    struct op *op;
    int n_ops;
    struct op head;             /* the last operation: run for the rows whose next token is wanted. Its matrix has a row for each token */
    int *width;                 /* floats a token in each slot */
    int n_slots;
    struct rope rope[MAX_ROPES];
    int n_ropes;
    int n_states;               /* operations that keep something in a cache */
    int max_cols;               /* longest row of any matrix */
    struct address_range *weight_range; /* [n_weight_ranges]: the bytes of every matrix, see sigbus_unreadable */
    int n_weight_ranges;
};

/* What operations keep of a sequence: the recurrent states of all layers, then keys and values by position. */
struct cache {
    uint8_t *data;
    int64_t bytes, state_bytes; /* of all, and of the recurrent states, which come first */
    int64_t *offset;            /* [n_states]: where the part of each operation starts */
    int64_t *held;              /* [n_states]: the tokens that an operation's recurrent state stands for; -1: a step failed that changed it */
    int64_t n_ctx;
    enum format format;         /* F16, F32 or Q8_0 */
};

#endif
