/* The memory a step works in: one mapping, laid out once for the largest step. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include "ops.h"

/* Hands out aligned pieces of one mapping; with base NULL it only counts. */
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

static void lay_out_thread(struct thread_scratch *t, const struct plan *p, const struct kernels *k, int n_batch, struct arena *a)
{
    int64_t cols = p->max_cols, lanes = k->lanes, groups = PANEL_ROWS * cols / 16 + PANEL_ROWS;
    t->row = take(a, cols * 4);
    t->weight_bytes = take(a, sizeof *t->weight_bytes);
    for (int i = 0; i < 2; i++)
        *(i ? &t->rest : &t->q8) = (struct q8_row){take(a, lanes * cols), take(a, lanes * (cols / 32 + 1) * 4),
                                                   take(a, lanes * (cols / 16 + 1) * 2)};
    t->panel.code = take(a, PANEL_ROWS * cols);
    t->panel.scale = take(a, groups * 4);
    t->panel.min = take(a, groups * 4);
    t->float_panel = take(a, PANEL_ROWS * cols * 4);
    /* gate and up of a panel for all tokens, or of a chunk for few; or the rows of a tile */
    t->out = take(a, 4 * max64(lanes * cols, max64(2 * (int64_t)n_batch * PANEL_ROWS, 2 * MAX_FEW * MAX_CHUNK_ROWS)));
}

static void lay_out(struct scratch *m, const struct plan *p, const struct kernels *k, struct arena *a)
{
    int64_t rows = (m->n_batch + k->lanes - 1) / k->lanes * k->lanes, pairs = 0, head = head_chunks(p) * m->n_batch;
    for (int i = 0; i < p->n_slots; i++)
        m->slot[i] = take(a, (int64_t)m->n_batch * p->width[i] * 4);
    for (int i = 0; i < 2; i++)
        *(i ? &m->rest : &m->q8) = (struct q8_tile){take(a, rows * p->max_cols),
                                                    take(a, rows * (p->max_cols / 32 + 1) * 4),
                                                    take(a, rows * (p->max_cols / 16 + 1) * 4)};
    m->few = (struct q8_row){take(a, 2 * MAX_FEW * p->max_cols), take(a, 2 * MAX_FEW * (p->max_cols / 32 + 1) * 4),
                             take(a, 2 * MAX_FEW * (p->max_cols / 16 + 1) * 2)};
    m->tile = take(a, rows * p->max_cols * 4);
    m->bf16_tile = take(a, rows * p->max_cols * 2);
    for (int i = 0; i < p->n_ropes; i++)
        pairs += p->rope[i].n_pairs;
    m->cos = take(a, m->n_batch * pairs * 4);
    m->sin = take(a, m->n_batch * pairs * 4);
    m->partial_max = take(a, head * 4);
    m->partial_sum = take(a, head * 8);
    m->parts = take(a, m->n_units * m->unit_floats * 4);
    m->parts_done = take(a, m->n_units * 4);
    for (int i = 0; i < m->n_threads; i++) {
        lay_out_thread(&m->thread[i], p, k, m->n_batch, a);
        m->thread[i].attention = take(a, m->attention_floats * 4);
    }
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
    m->activations = activations;
    m->attention_floats = attention_floats(p, k->lanes, n_ctx);
    m->n_units = UNITS_PER_THREAD * n_threads;
    m->unit_floats = attention_unit_floats(p);
    m->slot = calloc(p->n_slots, sizeof *m->slot);
    m->thread = calloc(n_threads, sizeof *m->thread);
    struct arena count = {0}, arena = {0};
    if (m->slot && m->thread) {
        lay_out(m, p, k, &count);
        void *memory = mmap(NULL, count.used, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory != MAP_FAILED) {
            arena.base = m->memory = memory;
            m->memory_bytes = count.used;
            lay_out(m, p, k, &arena);
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
