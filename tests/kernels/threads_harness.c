/* Runs kernels/threads/pool.c hard, for test_threads.py (which also builds it with ThreadSanitizer). Exits with 1 at the
 * first failed check. pthread_create is wrapped by the linker (--wrap), to fail when told so. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "threads/pool.h"

#define CHECK(x) do { if (!(x)) { dprintf(2, "line %d: %s\n", __LINE__, #x); _exit(1); } } while (0)
enum { N_CHUNKS = 37, N_LOOPS = 20 };

static _Thread_local int threads_allowed = MAX_THREADS;
int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    return threads_allowed-- > 0 ? __real_pthread_create(id, attr, fn, arg) : EAGAIN;
}

struct job {
    int counts[N_CHUNKS];              /* not atomic: only right if chunks and loops exclude each other */
    int n_threads;
    int endless;
    int cancelled[MAX_THREADS];
};

static void region(struct team *team, int thread, void *arg)
{
    struct job *job = arg;
    CHECK(team_size(team) == job->n_threads);
    CHECK(pool_run(1, region, arg, NULL, NULL) == EDEADLK);
    for (int loop = 0; loop < N_LOOPS || job->endless; loop++) {
        for (int64_t i; (i = next_chunk(team, thread, N_CHUNKS)) >= 0;)
            job->counts[(i + loop) % N_CHUNKS]++;
        if (team_barrier(team, thread)) {
            job->cancelled[thread]++;
            return;
        }
    }
}

static void run_regions(int n_threads, int n_regions)
{
    struct job job = {.n_threads = n_threads};
    for (int i = 0; i < n_regions; i++)
        CHECK(pool_run(n_threads, region, &job, NULL, NULL) == 0);
    for (int i = 0; i < N_CHUNKS; i++)
        CHECK(job.counts[i] == n_regions * N_LOOPS);
}

static int count_down(void *arg) { return --*(int *)arg == 0; }

static void run_cancelled(int n_threads)
{
    struct job job = {.n_threads = n_threads, .endless = 1};
    int polls = 2;
    CHECK(pool_run(n_threads, region, &job, count_down, &polls) == POOL_CANCELLED);
    CHECK(polls == 0);
    for (int i = 0; i < n_threads; i++)
        CHECK(job.cancelled[i] == 1);
}

static void *caller(void *arg)
{
    for (int i = 0; i < 100; i++)
        run_regions(1 + (i + *(int *)arg) % 4, 2);
    return NULL;
}

static void run_callers(void)
{
    pthread_t id[3];
    int start[3] = {0, 1, 2};
    for (int i = 0; i < 3; i++)
        CHECK(__real_pthread_create(&id[i], NULL, caller, &start[i]) == 0);
    for (int i = 0; i < 3; i++)
        pthread_join(id[i], NULL);
}

/* A region that lasts until it is told to stop, by another thread. */
static int stop;
static int poll_stop(void *arg) { (void)arg; return __atomic_load_n(&stop, __ATOMIC_ACQUIRE); }
static void *endless_caller(void *arg)
{
    struct job job = {.n_threads = 2, .endless = 1};
    CHECK(pool_run(2, region, &job, poll_stop, arg) == POOL_CANCELLED);
    return NULL;
}

static void check_child(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void fork_and_run(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        run_regions(3, 5);
        _exit(0);
    }
    check_child(pid);
}

static int poll_fork(void *arg)        /* forks once; the child's own region must end by itself */
{
    int *pid = arg;
    if (*pid < 0)
        *pid = fork();
    else if (*pid > 0)
        return 1;
    return 0;
}

static void run_forks(void)
{
    pthread_t id;
    fork_and_run();
    CHECK(__real_pthread_create(&id, NULL, endless_caller, NULL) == 0);
    for (int i = 0; i < 10; i++) {     /* now with a region running, or about to */
        fork_and_run();
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    int polls = 1;                     /* cancelled while waiting for the turn */
    struct job job = {.n_threads = 2};
    CHECK(pool_run(2, region, &job, count_down, &polls) == POOL_CANCELLED && job.counts[0] == 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(id, NULL);

    int pid = -1;
    struct job forking = {.n_threads = 4, .endless = 1};
    CHECK(pool_run(4, region, &forking, poll_fork, &pid) == POOL_CANCELLED);
    run_regions(2, 5);
    if (pid == 0)
        _exit(0);
    check_child(pid);
}

int main(int argc, char **argv)
{
    int n_regions = argc > 1 ? atoi(argv[1]) : 100;
    struct job job = {.n_threads = 2};
    CHECK(pool_run(0, region, &job, NULL, NULL) == EINVAL);
    CHECK(pool_run(MAX_THREADS + 1, region, &job, NULL, NULL) == EINVAL);
    threads_allowed = 1;               /* no more than one worker to be had: the pool goes on with it */
    CHECK(pool_run(3, region, &job, NULL, NULL) == EAGAIN && job.counts[0] == 0);
    threads_allowed = 0;
    run_regions(2, 10);
    threads_allowed = MAX_THREADS;
    run_regions(1, n_regions);
    run_regions(2, n_regions);
    run_regions(8, n_regions / 10);
    run_regions(2, n_regions);
    run_cancelled(1);
    run_cancelled(2);
    run_cancelled(8);
    run_callers();
    if (argc > 2 && strcmp(argv[2], "fork") == 0)
        run_forks();
    return 0;
}
