/* One mapping for all layers; pages come with the positions that fill them. */
#define _GNU_SOURCE
#include "kv_cache.h"
#include <stdlib.h>
#include <sys/mman.h>

static int64_t layer_bytes(const struct cache_layer *layer, int64_t n_ctx, enum format format)
{
    return 2 * n_ctx * layer->n_head_kv * padded_row_bytes(format, layer->head_dim);
}

int64_t cache_bytes(const struct plan *plan, int64_t n_ctx, enum format format)
{
    int64_t bytes = 0;
    for (int i = 0; i < plan->n_layers; i++)
        bytes += layer_bytes(&plan->layer[i], n_ctx, format);
    return bytes;
}

int cache_init(struct cache *cache, const struct plan *plan, int64_t n_ctx, enum format format)
{
    *cache = (struct cache){.offset = calloc(plan->n_layers + 1, sizeof(int64_t)), .n_ctx = n_ctx, .format = format};
    if (!cache->offset)
        return 1;
    for (int i = 0; i < plan->n_layers; i++)
        cache->offset[i + 1] = cache->offset[i] + layer_bytes(&plan->layer[i], n_ctx, format);
    void *data = mmap(NULL, cache->offset[plan->n_layers] + 1, PROT_READ | PROT_WRITE,
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
        munmap(cache->data, cache->offset[plan->n_layers] + 1);
    free(cache->offset);
}
