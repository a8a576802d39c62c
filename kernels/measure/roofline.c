#define _GNU_SOURCE
#include "roofline.h"
#include "threads/futex.h"
#include "threads/pool.h"

enum { ROUNDS = 2048, CHUNK_BYTES = 256 * 1024, PREFETCH_BYTES = 8192 };

struct measurement {
    int64_t (*peak)(int64_t);
    const uint8_t *memory;
    int64_t n_bytes;
    int64_t least, start, taken;       /* nanoseconds; thread 0 writes what the others read behind the next barrier */
    int64_t passes;
    struct { CACHE_ALIGNED int64_t n; } done[MAX_THREADS];
};

/* All threads stop at one moment: where there are more of them than processors, each is alone for a while. */
static void run_peak(struct team *team, int thread, void *arg)
{
    struct measurement *m = arg;
    if (thread == 0)
        m->start = now_ns(CLOCK_MONOTONIC);
    if (team_barrier(team, thread))
        return;
    int64_t done = 0;
    do
        done += m->peak(ROUNDS);
    while (now_ns(CLOCK_MONOTONIC) - m->start < m->least);
    m->done[thread].n = done;
    team_barrier(team, thread);
    if (thread == 0)
        m->taken = now_ns(CLOCK_MONOTONIC) - m->start;
}

int measure_peak(int64_t (*peak)(int64_t), int n_threads, double seconds, double *rate)
{
    struct measurement m = {.peak = peak, .least = (int64_t)(seconds * 1e9)};
    int err = pool_run(n_threads, run_peak, &m, NULL, NULL);
    int64_t done = 0;
    for (int i = 0; i < n_threads; i++)
        done += m.done[i].n;
    *rate = done / (m.taken * 1e-9);
    return err;
}

/* The prefetch reaches over the ends of pages, where the processor's own stops. */
static uint64_t read_chunk(const uint8_t *memory, int64_t n_bytes)
{
    const uint64_t *p = (const void *)memory;
    uint64_t all[8] = {0};
    for (int64_t i = 0; i + 8 <= n_bytes / 8; i += 8) {
        __builtin_prefetch(memory + 8 * i + PREFETCH_BYTES);
        for (int j = 0; j < 8; j++)
            all[j] |= p[i + j];
    }
    return all[0] | all[1] | all[2] | all[3] | all[4] | all[5] | all[6] | all[7];
}

static void run_read(struct team *team, int thread, void *arg)
{
    struct measurement *m = arg;
    if (thread == 0)
        m->start = now_ns(CLOCK_MONOTONIC);
    if (team_barrier(team, thread))
        return;
    do {
        for (int64_t i; (i = next_chunk(team, thread, (m->n_bytes + CHUNK_BYTES - 1) / CHUNK_BYTES)) >= 0;) {
            int64_t at = i * CHUNK_BYTES, left = m->n_bytes - at;
            volatile uint64_t used = read_chunk(m->memory + at, left < CHUNK_BYTES ? left : CHUNK_BYTES);
            (void)used;
        }
        if (team_barrier(team, thread))
            return;
        if (thread == 0) {
            m->passes++;
            m->taken = now_ns(CLOCK_MONOTONIC) - m->start;
        }
        if (team_barrier(team, thread))
            return;
    } while (m->taken < m->least);
}

int measure_read(const uint8_t *memory, int64_t n_bytes, int n_threads, double seconds, double *rate)
{
    struct measurement m = {.memory = memory, .n_bytes = n_bytes, .least = (int64_t)(seconds * 1e9)};
    int err = pool_run(n_threads, run_read, &m, NULL, NULL);
    *rate = m.passes * (double)n_bytes / (m.taken * 1e-9);
    return err;
}
