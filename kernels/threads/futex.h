/* The one way threads wait here: for a value to change, spinning or asleep. Linux futexes need no lock, so nothing is left locked by
 * a thread that a fork left behind. Include with _GNU_SOURCE defined. */
#ifndef SUBBYTE_FUTEX_H
#define SUBBYTE_FUTEX_H
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CACHE_ALIGNED _Alignas(128)   /* adjacent cache lines are fetched in pairs */

enum { SPIN_NS = 50 * 1000, POLL_NS = 50 * 1000 * 1000 };

static inline int64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");      /* "yield" is a no-op on most cores */
#endif
}

struct futex_event {
    CACHE_ALIGNED _Atomic uint32_t value;
    _Atomic uint32_t sleepers;
};

static inline uint32_t futex_value(struct futex_event *g) { return atomic_load_explicit(&g->value, memory_order_acquire); }

/* Both sides are sequentially consistent: either the opener sees the sleeper, or the sleeper sees the new value. */
static inline void futex_signal(struct futex_event *g)
{
    atomic_fetch_add(&g->value, 1);
    if (atomic_load(&g->sleepers) > 0)
        syscall(SYS_futex, &g->value, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* Spins at most SPIN_NS; nonzero when the value is no longer `seen`. */
static inline int futex_spin(struct futex_event *g, uint32_t seen)
{
    int64_t end = now_ns(CLOCK_MONOTONIC) + SPIN_NS;
    do {
        for (int i = 0; i < 16; i++) {
            if (futex_value(g) != seen)
                return 1;
            cpu_relax();
        }
    } while (now_ns(CLOCK_MONOTONIC) < end);
    return 0;
}

/* Sleeps until the value is no longer `seen`, or `limit` (NULL: none) has passed, or for no reason. */
static inline void futex_sleep(struct futex_event *g, uint32_t seen, const struct timespec *limit)
{
    atomic_fetch_add(&g->sleepers, 1);
    if (atomic_load(&g->value) == seen)
        syscall(SYS_futex, &g->value, FUTEX_WAIT_PRIVATE, seen, limit, NULL, 0);
    atomic_fetch_sub(&g->sleepers, 1);
}

#endif
