#define _GNU_SOURCE
#include "sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* One of a list that only grows: the handler walks it in any thread at any time, so that nodes are used again and never freed, and
 * no lock is taken, which a fork could leave locked. `use` counts up: free, being changed, live, and so on; who reads start and
 * end looks whether it was live, and the same, before and after. The map that a thread is reading stays live meanwhile. */
struct guarded_map {
    _Atomic uint64_t use;
    _Atomic uintptr_t start, end;
    atomic_int unreadable;
    struct guarded_map *next;
};
enum { FREE, CHANGING, LIVE, N_USES };

static _Atomic(struct guarded_map *) maps;
static atomic_int any_unreadable;      /* ever, so that asking costs nothing where all is well */
static struct sigaction before;
static uintptr_t page_bytes;

/* The live map that holds an address, or NULL; *end is where it ends. */
static struct guarded_map *map_of(uintptr_t at, uintptr_t *end)
{
    for (struct guarded_map *map = atomic_load(&maps); map; map = map->next) {
        uint64_t use = atomic_load(&map->use);
        uintptr_t start = atomic_load(&map->start);
        *end = atomic_load(&map->end);
        if (use % N_USES == LIVE && start <= at && at < *end && atomic_load(&map->use) == use)
            return map;
    }
    return NULL;
}

/* What follows a missing page is missing, too, or makes no whole any more. */
static int put_zeros(uintptr_t at, uintptr_t end)
{
    uintptr_t first = at & ~(page_bytes - 1);
    return mmap((void *)first, end - first, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    uintptr_t at = (uintptr_t)info->si_addr, end;
    struct guarded_map *map = info->si_code > 0 ? map_of(at, &end) : NULL;
    if (map && put_zeros(at, end)) {
        atomic_store(&map->unreadable, 1);
        atomic_store(&any_unreadable, 1);
        errno = saved;
        return;
    }
    sigaction(SIGBUS, &before, NULL);          /* returning repeats the access, now with the handler there was */
    if (info->si_code <= 0)
        raise(signal_number);                  /* sent by a process: there is no access to repeat */
}

static void install(void)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &before);
}

/* A node that nobody else has, being changed; NULL without memory. */
static struct guarded_map *take_node(void)
{
    for (struct guarded_map *map = atomic_load(&maps); map; map = map->next) {
        uint64_t use = atomic_load(&map->use);
        if (use % N_USES == FREE && atomic_compare_exchange_strong(&map->use, &use, use + 1))
            return map;
    }
    struct guarded_map *map = calloc(1, sizeof *map);
    if (map) {
        atomic_store(&map->use, CHANGING);
        map->next = atomic_load(&maps);
        while (!atomic_compare_exchange_weak(&maps, &map->next, map))
            ;
    }
    return map;
}

struct guarded_map *sigbus_guard(struct address_range range)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    struct guarded_map *map = take_node();
    if (map) {
        atomic_store(&map->unreadable, 0);
        atomic_store(&map->start, range.start);
        atomic_store(&map->end, range.end);
        atomic_fetch_add(&map->use, 1);
    }
    return map;
}

void sigbus_unguard(struct guarded_map *map) { atomic_fetch_add(&map->use, 1); }

int sigbus_map_unreadable(const struct guarded_map *map) { return atomic_load(&map->unreadable); }

int sigbus_unreadable(const struct address_range *range, int n)
{
    uintptr_t end;
    for (int i = 0; i < n && atomic_load(&any_unreadable); i++) {
        const struct guarded_map *map = map_of(range[i].start, &end);
        if (map && sigbus_map_unreadable(map))
            return 1;
    }
    return 0;
}
