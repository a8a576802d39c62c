#define _GNU_SOURCE
#include "sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

/* initial-exec: the handler may read it in a thread that never did, where another model would allocate. */
#define OF_A_THREAD static _Thread_local __attribute__((tls_model("initial-exec")))
OF_A_THREAD struct step *guarded;
OF_A_THREAD const struct mapped *mapped;
OF_A_THREAD int n_mapped, *mapped_lost;
static struct sigaction before;
static uintptr_t page_bytes;

/* The end of the matrix that has a byte at `at`, or 0. */
static uintptr_t end_of(const struct weight *w, uintptr_t at)
{
    uintptr_t start = (uintptr_t)w->data, end = start + w->rows * row_bytes(w->format, w->cols);
    return w->data && start <= at && at < end ? end : 0;
}

static uintptr_t weight_end(const struct plan *plan, uintptr_t at)
{
    uintptr_t end = end_of(&plan->output, at);
    for (int i = 0; i < plan->n_ops && !end; i++)
        for (int j = 0; j < MAX_TARGETS && !end; j++)
            end = end_of(&plan->op[i].target[j].weight, at);
    return end;
}

static uintptr_t mapped_end(uintptr_t at)
{
    for (int i = 0; i < n_mapped; i++)
        if (mapped[i].start <= at && at < mapped[i].end)
            return mapped[i].end;
    return 0;
}

/* Zeros from the page of `at` to the last whole page of its matrix or file: what follows a missing page is missing, too, or read
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
    int saved = errno, *lost = guarded ? &guarded->lost : mapped_lost;
    uintptr_t at = (uintptr_t)info->si_addr, end = 0;
    if (info->si_code > 0)
        end = guarded ? weight_end(guarded->plan, at) : mapped_end(at);
    if (end && put_zeros(at, end)) {
        __atomic_store_n(lost, 1, __ATOMIC_RELAXED);
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

static void install_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}

void guard_begin(struct step *step)
{
    install_once();
    guarded = step;
}

void guard_end(void) { guarded = NULL; }

void guard_mapped(const struct mapped *files, int n, int *lost)
{
    install_once();
    mapped = files, n_mapped = n, mapped_lost = lost;
}
