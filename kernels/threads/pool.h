/* A team of threads for whole steps: one region a step, barriers and dynamic chunks inside it.
 *
 * The process has one pool. Workers spin a short while for the next region, then sleep. Regions run one at a time; further
 * callers wait for their turn, first come first served. After fork() the child starts a pool of its own when it first needs one. */
#ifndef SUBBYTE_POOL_H
#define SUBBYTE_POOL_H
#include <stdint.h>

enum { MAX_THREADS = 256, POOL_CANCELLED = -1 };

struct team;
typedef void (*region_fn)(struct team *team, int thread, void *arg);

/* Runs fn in the caller (thread 0) and n_threads - 1 workers, and returns when all have left it: 0, POOL_CANCELLED, or an errno if
 * the region never started: EAGAIN or ENOMEM (no threads to be had), EINVAL (n_threads outside 1..MAX_THREADS), EDEADLK (called
 * inside a region). poll (may be NULL) is called in thread 0 about every 50 ms, while waiting for a turn, inside next_chunk and
 * inside team_barrier; when it returns nonzero the region is cancelled. A chunk should take a few milliseconds at most. */
int pool_run(int n_threads, region_fn fn, void *arg, int (*poll)(void *), void *poll_arg);

int team_size(const struct team *team);
/* The next chunk of the current parallel loop, 0..n_chunks-1, or -1 when none is left or the region is cancelled. Each chunk goes to
 * one thread: those of a part of its own first, in order, then what other threads have not begun of theirs. */
int64_t next_chunk(struct team *team, int thread, int64_t n_chunks);
/* Whether the region is cancelled; polls like next_chunk. For a chunk that may take long: it asks now and then, and may end early. */
int team_cancelled(struct team *team, int thread);
/* Ends a parallel loop: all threads meet. Nonzero, in every thread alike, when the region is cancelled: leave it then. When it is
 * zero, all chunks of the loop were done. */
int team_barrier(struct team *team, int thread);
/* Barriers met at and chunks given out since the region began; to be asked after its last barrier. */
void team_counts(const struct team *team, int64_t *n_barriers, int64_t *n_chunks);

#endif
