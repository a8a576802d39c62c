/* Attention's parameters, and what happens to queries, keys and values before it (rope_kv.c). */
#ifndef SUBBYTE_ATTENTION_H
#define SUBBYTE_ATTENTION_H
#include "engine/operation.h"

struct attention {
    int64_t n_head, n_head_kv, head_dim;
    int64_t rope;               /* index into plan.rope, or -1 */
    int64_t rope_start;         /* the first value of a head that it turns */
    int64_t window;             /* 0: all earlier positions are visible */
    int64_t temperature_length; /* of a query at position pos the scores are multiplied by */
    float temperature_scale;    /* 1 + temperature_scale * ln(1 + pos / temperature_length), a whole quotient; 0: by nothing */
    float scale, head_eps;
    float softcap;              /* scores become softcap * tanh(score / softcap), if > 0 */
    int64_t norm_after_rope;    /* whether heads are normed after it instead of before */
    struct vector q_norm, k_norm, v_norm; /* [n] or none: RMSNorm of the first n values of every head; of values all are normed */
    int64_t keys_of;            /* the operation of the plan, an attention before it, whose keys and values it reads; -1: its own */
    int64_t one_row;            /* whether a row of the cache is key and value (multi-head latent attention) */
    struct vector sinks;        /* [n_head] or none: the score of a key that every query sees, whose value is 0 */
};

/* The slots it reads: [n_head][head_dim], [n_head_kv][head_dim] twice; Q and K may be changed in place. Without V the values are the keys
 * as they were before norm and rope or, with one_row, as they are cached. With keys_of there is Q alone. */
enum { Q, K, V };

const struct segment *segment_of(const struct step *s, int row);
static inline int64_t position(const struct segment *seg, int row) { return seg->pos + row - seg->row; }
static inline int has_own_keys(const struct attention *a) { return a->keys_of < 0; }
/* Keys and values of one KV head that this operation reads in a cache. */
struct kv_head cache_head(const struct step *s, const struct op *op, const struct cache *cache, int head);
/* Norms and rotates query heads of one row in place, and multiplies them by what the row's position asks for. */
void rotate_queries(const struct step *s, const struct op *op, float *heads, int n_head, int row);
/* Rotates the keys of n KV heads of one row, from head0 on, and stores them and the values in the cache. space: [head_dim]. */
void append_heads(const struct step *s, const struct op *op, const struct segment *seg, int row, int head0, int n, float *space);

#endif
