/* The memory a step works in: one mapping, laid out once for the largest step. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include "operation.h"

/* Hands out aligned parts of one mapping; with base NULL it only counts. */
struct arena { uint8_t *base; int64_t used; };

static void *take(struct arena *a, int64_t bytes)
{
    void *p = a->base ? a->base + a->used : NULL;
    a->used += (bytes + 127) & ~(int64_t)127;
    return p;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Rows of so many values, all together. */
static struct q8_row take_rows(struct arena *a, int64_t values)
{
    return (struct q8_row){take(a, values), take(a, values / 32 * 4), take(a, values / 16 * 2)};
}

static struct q8_tile take_tiles(struct arena *a, int64_t values)
{
    return (struct q8_tile){take(a, values), take(a, values / 32 * 4), take(a, values / 16 * 4)};
}

static void lay_out_thread(struct thread_scratch *t, const struct plan *p, const struct kernels *k, int n_batch,
                           struct scratch_need need, struct arena *a)
{
    int64_t cols = p->max_cols, lanes = k->lanes, groups = PANEL_ROWS * cols / 16 + PANEL_ROWS;
    t->row = take(a, cols * 4);
    t->weight_bytes = take(a, sizeof *t->weight_bytes);
    t->q8 = take_rows(a, max64(lanes * cols, need.thread_q8));
    t->residual = take_rows(a, lanes * cols);
    t->panel.code = take(a, PANEL_ROWS * cols);
    t->panel.scale = take(a, groups * 4);
    t->panel.factor = take(a, PANEL_ROWS * (cols / 256 + 1) * 4);
    t->panel.min = take(a, groups * 4);
    t->float_panel = take(a, PANEL_ROWS * cols * 4);
    /* gate and up of a panel for all tokens, or of a chunk for a small batch; or the rows of a tile */
    t->out = take(a, 4 * max64(lanes * cols, max64(2 * (int64_t)n_batch * PANEL_ROWS, 2 * MAX_SMALL_BATCH * MAX_CHUNK_ROWS)));
    t->floats = take(a, need.thread_floats * 4);
}

static void lay_out(struct scratch *m, const struct plan *p, const struct kernels *k, struct scratch_need need, struct arena *a)
{
    int64_t rows = (m->n_batch + k->lanes - 1) / k->lanes * k->lanes, pairs = 0;
    for (int i = 0; i < p->n_slots; i++)
        m->slot[i] = take(a, (int64_t)m->n_batch * p->width[i] * 4);
    int64_t values = max64(rows * p->max_cols, need.prepared);
    m->prepared = (struct prepared){
        .row = take(a, values * 4),
        .rows = take_rows(a, 2 * max64(MAX_SMALL_BATCH * p->max_cols, need.prepared)),
        .q8 = take_tiles(a, values),
        .residual = take_tiles(a, values),
        .tile = take(a, values * 4),
        .bf16_tile = take(a, values * 2),
    };
    for (int i = 0; i < p->n_ropes; i++)
        pairs += p->rope[i].n_pairs;
    m->cos = take(a, m->n_batch * pairs * 4);
    m->sin = take(a, m->n_batch * pairs * 4);
    m->shared = take(a, need.shared_floats * 4);
    m->counter = take(a, need.n_counters * 4);
    m->n_counters = need.n_counters;
    for (int i = 0; i < m->n_threads; i++)
        lay_out_thread(&m->thread[i], p, k, m->n_batch, need, a);
}

static void add_need_of(const struct op *op, struct step_size size, struct scratch_need *most)
{
    if (!op->kind || !op->kind->scratch)
        return;
    struct scratch_need need = op->kind->scratch(op, size);
    most->thread_floats = max64(most->thread_floats, need.thread_floats);
    most->shared_floats = max64(most->shared_floats, need.shared_floats);
    most->prepared = max64(most->prepared, need.prepared);
    most->thread_q8 = max64(most->thread_q8, need.thread_q8);
    most->n_counters = (int)max64(most->n_counters, need.n_counters);
}

/* Memory that is not touched costs nothing: the pages of a mapping come with their first use. */
struct scratch *scratch_new(const struct plan *p, const struct kernels *k, int n_batch, int n_threads, int64_t n_ctx,
                            enum activations activations)
{
    struct scratch *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->n_batch = n_batch;
    m->n_threads = n_threads;
    m->n_ctx = n_ctx;
    m->activations = activations;
    struct step_size size = {.lanes = k->lanes, .n_batch = n_batch, .n_threads = n_threads, .n_ctx = n_ctx};
    struct scratch_need need = {0};
    for (int i = 0; i < p->n_ops; i++)
        add_need_of(&p->op[i], size, &need);
    add_need_of(&p->head, size, &need);
    m->slot = calloc(p->n_slots, sizeof *m->slot);
    m->thread = calloc(n_threads, sizeof *m->thread);
    struct arena count = {0}, arena = {0};
    if (m->slot && m->thread) {
        lay_out(m, p, k, need, &count);
        void *memory = mmap(NULL, count.used, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory != MAP_FAILED) {
            arena.base = m->memory = memory;
            m->memory_bytes = count.used;
            lay_out(m, p, k, need, &arena);
            return m;
        }
    }
    scratch_free(m);
    return NULL;
}

void scratch_free(struct scratch *m)
{
    if (!m)
        return;
    if (m->memory)
        munmap(m->memory, m->memory_bytes);
    free(m->slot);
    free(m->thread);
    free(m);
}
