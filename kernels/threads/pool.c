#define _GNU_SOURCE
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include "futex.h"
#include "fifo_lock.h"

enum { STACK_BYTES = 512 * 1024 };

/* ---- the pool ---- */

struct team {
    int n_threads, spin;
    region_fn fn;
    void *arg;
    int (*poll)(void *);
    void *poll_arg;
    int64_t next_poll;                 /* only thread 0 looks at it, as at poll */
    int cancelled_at_barrier;          /* written by the last thread to arrive, before it opens met */
    struct {
        CACHE_ALIGNED _Atomic int64_t taken;  /* of this part of the current loop's chunks, see next_chunk */
        int64_t n_chunks;              /* that this thread was given, of any part */
    } part[MAX_THREADS];
    int64_t n_barriers;                /* written as cancelled_at_barrier is */
    CACHE_ALIGNED _Atomic int arrived;       /* threads at the current barrier */
    CACHE_ALIGNED _Atomic int running;       /* workers still inside fn */
    CACHE_ALIGNED _Atomic int cancelled;     /* never cleared within a region */
    struct futex_event met, done;
};

struct worker {
    struct futex_event start;
    int thread;
};

static struct {                        /* touched only by who holds fifo_lock, and by its team */
    int n_workers;
    struct team team;
    struct worker workers[MAX_THREADS - 1];
} pool;

static _Thread_local int inside_region;

/* ---- after a fork the child has one thread, and no workers ---- */

static void after_fork_child(void)
{
    pool.n_workers = 0;
    /* Had the forking thread a region running (fork called by its poll), that region goes on alone, is cancelled and ends. */
    struct team *team = &pool.team;
    team->n_threads = 1;
    team->cancelled_at_barrier = 1;
    atomic_store(&team->cancelled, 1);
    atomic_store(&team->arrived, 0);
    atomic_fetch_add(&team->met.value, 1);
    atomic_fetch_add(&team->done.value, 1);
    fifo_lock_after_fork_child();
}

static int fork_handlers_error;
static void install_fork_handlers(void)
{
    fork_handlers_error = pthread_atfork(fifo_lock_before_fork, fifo_lock_after_fork_parent, after_fork_child);
}

/* ---- workers ---- */

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct team *team = &pool.team;
    char name[16];
    snprintf(name, sizeof name, "subbyte-%d", w->thread);
    pthread_setname_np(pthread_self(), name);
    inside_region = 1;
    int spin = 0;
    for (uint32_t seen = 0;; seen++) {
        if (!spin || !futex_spin(&w->start, seen))
            while (futex_value(&w->start) == seen)
                futex_sleep(&w->start, seen, NULL);
        spin = team->spin;
        team->fn(team, w->thread, team->arg);
        if (atomic_fetch_sub(&team->running, 1) == 1)
            futex_signal(&team->done);
    }
    return NULL;
}

/* Starts workers until there are n; 0 or an errno, the pool being as good as before. */
static int grow(int n)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int err = pthread_attr_init(&attr);
    if (err)
        return err;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);                  /* signals are for the program's own threads */
    sigdelset(&all, SIGBUS);           /* but not what a thread's own access causes, see sigbus.h */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (!err && pool.n_workers < n) {
        struct worker *w = &pool.workers[pool.n_workers];
        pthread_t id;
        atomic_store(&w->start.value, 0);
        atomic_store(&w->start.sleepers, 0);
        w->thread = pool.n_workers + 1;
        err = pthread_create(&id, &attr, worker_main, w);
        pool.n_workers += !err;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return err;
}

/* Spinning only pays when every thread of the team can have a CPU. */
static int cpus_for(int n_threads)
{
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) != 0 || CPU_COUNT(&cpus) >= n_threads;
}

/* ---- regions ---- */

static void poll_if_due(struct team *team)
{
    if (!team->poll || now_ns(CLOCK_MONOTONIC_COARSE) < team->next_poll)
        return;
    if (team->poll(team->poll_arg))
        atomic_store(&team->cancelled, 1);
    team->next_poll = now_ns(CLOCK_MONOTONIC_COARSE) + POLL_NS;
}

static void wait_for_team(struct team *team, int thread, struct futex_event *g, uint32_t seen)
{
    const struct timespec limit = {0, POLL_NS};
    if (team->spin && futex_spin(g, seen))
        return;
    while (futex_value(g) == seen) {
        futex_sleep(g, seen, thread == 0 ? &limit : NULL);
        if (thread == 0)
            poll_if_due(team);
    }
}

static void run_region(struct team *team)
{
    uint32_t done = futex_value(&team->done);
    int n_workers = team->n_threads - 1;
    for (int i = 0; i < n_workers; i++)
        futex_signal(&pool.workers[i].start);
    team->fn(team, 0, team->arg);
    if (n_workers > 0)
        wait_for_team(team, 0, &team->done, done);
}

static void start_loop(struct team *team)
{
    for (int i = 0; i < team->n_threads; i++)
        atomic_store_explicit(&team->part[i].taken, 0, memory_order_relaxed);
}

int pool_run(int n_threads, region_fn fn, void *arg, int (*poll)(void *), void *poll_arg)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (n_threads < 1 || n_threads > MAX_THREADS)
        return EINVAL;
    if (inside_region)
        return EDEADLK;
    pthread_once(&once, install_fork_handlers);
    if (fork_handlers_error)
        return fork_handlers_error;
    int err = fifo_lock(poll, poll_arg);
    if (err)
        return err;
    err = grow(n_threads - 1);
    if (!err) {
        struct team *team = &pool.team;
        team->n_threads = n_threads;
        team->spin = cpus_for(n_threads);
        team->fn = fn;
        team->arg = arg;
        team->poll = poll;
        team->poll_arg = poll_arg;
        team->next_poll = now_ns(CLOCK_MONOTONIC_COARSE) + POLL_NS;
        team->n_barriers = 0;
        for (int i = 0; i < n_threads; i++)
            team->part[i].n_chunks = 0;
        start_loop(team);
        atomic_store(&team->arrived, 0);
        atomic_store(&team->cancelled, 0);
        atomic_store(&team->running, n_threads - 1);
        inside_region = 1;
        run_region(team);
        inside_region = 0;
        err = atomic_load(&team->cancelled) ? POOL_CANCELLED : 0;
    }
    fifo_unlock();
    return err;
}

int team_size(const struct team *team) { return team->n_threads; }

int team_cancelled(struct team *team, int thread)
{
    if (thread == 0)
        poll_if_due(team);
    return atomic_load_explicit(&team->cancelled, memory_order_relaxed);
}

/* The next chunk of the part of the loop that belongs to `owner`, or -1. */
static int64_t take_from(struct team *team, int owner, int64_t n_chunks)
{
    int64_t first = n_chunks * owner / team->n_threads, n = n_chunks * (owner + 1) / team->n_threads - first;
    _Atomic int64_t *taken = &team->part[owner].taken;
    if (atomic_load_explicit(taken, memory_order_relaxed) >= n)
        return -1;
    int64_t i = atomic_fetch_add_explicit(taken, 1, memory_order_relaxed);
    return i < n ? first + i : -1;
}

/* Each thread first works through a part of its own, so that it reads on where it stopped; then it helps the others. */
int64_t next_chunk(struct team *team, int thread, int64_t n_chunks)
{
    if (team_cancelled(team, thread))
        return -1;
    for (int i = 0; i < team->n_threads; i++) {
        int64_t chunk = take_from(team, (thread + i) % team->n_threads, n_chunks);
        if (chunk >= 0) {
            team->part[thread].n_chunks++;
            return chunk;
        }
    }
    return -1;
}

int team_barrier(struct team *team, int thread)
{
    uint32_t seen = futex_value(&team->met);
    if (thread == 0)
        poll_if_due(team);
    if (atomic_fetch_add(&team->arrived, 1) + 1 == team->n_threads) {
        /* Who cut a loop short has seen the flag before arriving, so it is seen here too. */
        team->cancelled_at_barrier = atomic_load(&team->cancelled);
        team->n_barriers++;
        atomic_store(&team->arrived, 0);
        start_loop(team);
        futex_signal(&team->met);
    } else {
        wait_for_team(team, thread, &team->met, seen);
    }
    return team->cancelled_at_barrier;
}

void team_counts(const struct team *team, int64_t *n_barriers, int64_t *n_chunks)
{
    *n_barriers = team->n_barriers;
    *n_chunks = 0;
    for (int i = 0; i < team->n_threads; i++)
        *n_chunks += team->part[i].n_chunks;
}
