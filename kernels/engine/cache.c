/* One mapping for all operations; pages come with the positions that fill them. */
#define _GNU_SOURCE
#include "cache.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "operation.h"

static struct position_rows rows_of(const struct op *op, enum format format)
{
    return op->kind->position_rows ? op->kind->position_rows(op, format) : (struct position_rows){0};
}

static int64_t state_bytes_of(const struct op *op)
{
    return op->kind->state_floats ? (op->kind->state_floats(op) * (int64_t)sizeof(float) + 63) & ~(int64_t)63 : 0;
}

int64_t position_bytes(const struct plan *plan, enum format format)
{
    int64_t bytes = 0;
    for (int i = 0; i < plan->n_ops; i++) {
        struct position_rows rows = rows_of(&plan->op[i], format);
        bytes += rows.n * rows.bytes;
    }
    return bytes;
}

int64_t state_bytes(const struct plan *plan)
{
    int64_t bytes = 0;
    for (int i = 0; i < plan->n_ops; i++)
        bytes += state_bytes_of(&plan->op[i]);
    return bytes;
}

static void lay_out(struct cache *cache, const struct plan *plan)
{
    for (int i = 0; i < plan->n_ops; i++)
        if (plan->op[i].kind->state_floats) {
            cache->offset[plan->op[i].state] = cache->bytes;
            cache->bytes += state_bytes_of(&plan->op[i]);
        }
    cache->state_bytes = cache->bytes;
    for (int i = 0; i < plan->n_ops; i++)
        if (plan->op[i].kind->position_rows) {
            struct position_rows rows = rows_of(&plan->op[i], cache->format);
            cache->offset[plan->op[i].state] = cache->bytes;
            cache->bytes += cache->n_ctx * rows.n * rows.bytes;
        }
}

int cache_init(struct cache *cache, const struct plan *plan, int64_t n_ctx, enum format format)
{
    *cache = (struct cache){.n_ctx = n_ctx, .format = format};
    cache->offset = calloc(plan->n_states + 1, sizeof(int64_t));
    cache->held = calloc(plan->n_states + 1, sizeof(int64_t));
    if (cache->offset && cache->held) {
        lay_out(cache, plan);
        void *data = mmap(NULL, cache->bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (data != MAP_FAILED) {
            cache->data = data;
            return 0;
        }
    }
    cache_free(cache);
    return 1;
}

void cache_free(struct cache *cache)
{
    if (cache->data)
        munmap(cache->data, cache->bytes + 1);
    free(cache->offset);
    free(cache->held);
    *cache = (struct cache){0};
}

void enter_state(const struct op *op, struct cache *cache, int64_t pos)
{
    int64_t *held = &cache->held[op->state];
    if (pos == 0 && *held != 0)
        memset(recurrent_state(op, cache), 0, state_bytes_of(op));
    *held = -1;
}

int64_t cache_parts(const struct cache *cache, const struct plan *plan)
{
    int64_t n = cache->state_bytes > 0;
    for (int i = 0; i < plan->n_ops; i++)
        n += rows_of(&plan->op[i], cache->format).n;
    return n;
}

struct cache_part cache_part(const struct cache *cache, const struct plan *plan, int64_t part, int64_t n_positions)
{
    if (cache->state_bytes && part-- == 0)
        return (struct cache_part){cache->data, cache->state_bytes};
    for (int i = 0; i < plan->n_ops; i++) {
        struct position_rows rows = rows_of(&plan->op[i], cache->format);
        if (part < rows.n)
            return (struct cache_part){cache->data + cache->offset[plan->op[i].state] + part * cache->n_ctx * rows.bytes,
                                       n_positions * rows.bytes};
        part -= rows.n;
    }
    return (struct cache_part){0};
}
