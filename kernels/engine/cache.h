/* What a sequence remembers: recurrent states, and keys and values by position. */
#ifndef SUBBYTE_CACHE_H
#define SUBBYTE_CACHE_H
#include "plan.h"

int64_t position_bytes(const struct plan *plan, enum format format);    /* of each position */
int64_t state_bytes(const struct plan *plan);                           /* of all recurrent states */
int cache_init(struct cache *cache, const struct plan *plan, int64_t n_ctx, enum format format);   /* nonzero: no memory */
void cache_free(struct cache *cache);

/* Begins a step over an operation's recurrent state, which stands for pos tokens or is to begin anew at 0: it stands for nothing until
 * the step has ended well. */
void enter_state(const struct op *op, struct cache *cache, int64_t pos);

/* A cache as runs of bytes, for copies and files: its recurrent states, if it has any, then each row of the first n_positions. */
struct cache_part {
    uint8_t *data;
    int64_t bytes;
};
int64_t cache_parts(const struct cache *cache, const struct plan *plan);
struct cache_part cache_part(const struct cache *cache, const struct plan *plan, int64_t part, int64_t n_positions);

#endif
