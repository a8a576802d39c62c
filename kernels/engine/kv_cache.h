/* The KV cache of one sequence. */
#ifndef SUBBYTE_KV_CACHE_H
#define SUBBYTE_KV_CACHE_H
#include "plan.h"

int64_t cache_bytes(const struct plan *plan, int64_t n_ctx, enum format format);
int cache_init(struct cache *cache, const struct plan *plan, int64_t n_ctx, enum format format);   /* nonzero: no memory */
void cache_free(struct cache *cache, const struct plan *plan);

#endif
