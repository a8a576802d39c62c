#define _GNU_SOURCE
#include "bounds.h"
#include "gate.h"
#include "threads.h"

enum { ROUNDS = 2048, CHUNK_BYTES = 256 * 1024, PREFETCH_BYTES = 8192 };

struct run {
    int64_t (*peak)(int64_t);          /* NULL: read */
    const uint8_t *memory;
    int64_t n_bytes, nanoseconds;
    struct { CACHE_ALIGNED double rate; } thread[MAX_THREADS];
};

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

/* Reads the thread's part from its beginning, in a loop. */
struct reader {
    const uint8_t *part;
    int64_t n_bytes, at;
    int passes;
};

static int64_t read_on(struct reader *r)
{
    int64_t n = r->n_bytes - r->at < CHUNK_BYTES ? r->n_bytes - r->at : CHUNK_BYTES;
    volatile uint64_t used = read_chunk(r->part + r->at, n);
    (void)used;
    r->at += n;
    if (r->at == r->n_bytes) {
        r->at = 0;
        r->passes++;
    }
    return n;
}

static void work(struct team *team, int thread, void *arg)
{
    struct run *run = arg;
    int64_t share = run->n_bytes / team_size(team) / 64 * 64, done = 0, now;
    struct reader reader = {.part = run->memory + share * thread, .n_bytes = share};
    if (team_barrier(team, thread))
        return;
    int64_t start = now_ns(CLOCK_MONOTONIC);
    do {
        done += run->peak ? run->peak(ROUNDS) : read_on(&reader);
        now = now_ns(CLOCK_MONOTONIC);
    } while (now - start < run->nanoseconds || (!run->peak && !reader.passes));
    run->thread[thread].rate = done / ((now - start) * 1e-9);
}

static int measure(struct run *run, int n_threads, double seconds, double *rate)
{
    run->nanoseconds = (int64_t)(seconds * 1e9);
    int err = pool_run(n_threads, work, run, NULL, NULL);
    *rate = 0;
    for (int i = 0; i < n_threads && !err; i++)
        *rate += run->thread[i].rate;
    return err;
}

int measure_peak(int64_t (*peak)(int64_t), int n_threads, double seconds, double *rate)
{
    struct run run = {.peak = peak};
    return measure(&run, n_threads, seconds, rate);
}

int measure_read(const uint8_t *memory, int64_t n_bytes, int n_threads, double seconds, double *rate)
{
    struct run run = {.memory = memory, .n_bytes = n_bytes};
    return measure(&run, n_threads, seconds, rate);
}
