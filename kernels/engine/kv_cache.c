/* One mapping for all operations; pages come with the positions that fill them. */
#define _GNU_SOURCE
#include "kv_cache.h"
#include <stdlib.h>
#include <sys/mman.h>
#include "operation.h"

static int64_t position_bytes(const struct op *op, enum format format)
{
    return op->kind->position_bytes ? op->kind->position_bytes(op, format) : 0;
}

int64_t cache_bytes(const struct plan *plan, int64_t n_ctx, enum format format)
{
    int64_t bytes = 0;
    for (int i = 0; i < plan->n_ops; i++)
        bytes += n_ctx * position_bytes(&plan->op[i], format);
    return bytes;
}

int cache_init(struct cache *cache, const struct plan *plan, int64_t n_ctx, enum format format)
{
    *cache = (struct cache){.offset = calloc(plan->n_states + 1, sizeof(int64_t)), .n_ctx = n_ctx, .format = format};
    if (!cache->offset)
        return 1;
    for (int i = 0; i < plan->n_ops; i++)
        if (plan->op[i].kind->position_bytes) {
            int state = plan->op[i].state;
            cache->offset[state + 1] = cache->offset[state] + n_ctx * position_bytes(&plan->op[i], format);
        }
    void *data = mmap(NULL, cache->offset[plan->n_states] + 1, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) {
        free(cache->offset);
        cache->offset = NULL;
        return 1;
    }
    cache->data = data;
    return 0;
}

void cache_free(struct cache *cache, const struct plan *plan)
{
    if (cache->data)
        munmap(cache->data, cache->offset[plan->n_states] + 1);
    free(cache->offset);
}
