#define _GNU_SOURCE
#include "sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

/* initial-exec: the handler may read it in a thread that never did, where another model would allocate. */
#define OF_A_THREAD static _Thread_local __attribute__((tls_model("initial-exec")))
OF_A_THREAD struct sigbus_guard current;
static struct sigaction before;
static uintptr_t page_bytes;

/* The end of the guarded range that has a byte at `at`, or 0. */
static uintptr_t end_of_range(uintptr_t at)
{
    for (int i = 0; i < current.n; i++)
        if (current.range[i].start <= at && at < current.range[i].end)
            return current.range[i].end;
    return 0;
}

/* Zeros from the page of `at` to the last whole page of its range: what follows a missing page is missing, too, or read
 * no more. */
static int put_zeros(uintptr_t at, uintptr_t end)
{
    uintptr_t first = at & ~(page_bytes - 1), last = end & ~(page_bytes - 1);
    size_t n = last > first ? last - first : page_bytes;
    return mmap((void *)first, n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    uintptr_t at = (uintptr_t)info->si_addr, end = info->si_code > 0 ? end_of_range(at) : 0;
    if (end && put_zeros(at, end)) {
        __atomic_store_n(current.unreadable, 1, __ATOMIC_RELAXED);
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

struct sigbus_guard sigbus_set_guard(struct sigbus_guard guard)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct sigbus_guard previous = current;
    pthread_once(&once, install);
    current = guard;
    return previous;
}
