/* Which instruction sets this machine has, and the table of functions for each. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "kernel_table.h"

/* What the tests of isa.def are made of, by processor family. Families without rows there need none. */
#if defined(__x86_64__)
#define cpu(feature) __builtin_cpu_supports(feature)      /* libgcc asks the processor, and whether registers are saved */
#elif defined(__aarch64__)
#include <sys/auxv.h>
#define hwcap(bit) ((getauxval(AT_HWCAP) & (bit)) != 0)   /* the operating system says what programs may use */
#define hwcap2(bit) ((getauxval(AT_HWCAP2) & (bit)) != 0)
#endif

enum {
    N_TABLES = 1                                           /* scalar, and the rows of isa.def */
#define ISA(isa, test) +1
#include "cpu/isa.def"
#undef ISA
};
_Static_assert((int)N_TABLES <= MAX_TABLES, "kernels_usable gives MAX_TABLES names at most");

static struct kernels tables[MAX_TABLES];                  /* the usable ones, weakest first */
static int n_usable;
static pthread_once_t built = PTHREAD_ONCE_INIT;

/* A table is the next weaker one with what `fill` does better put over it. */
static void add_table(const char *name, void (*fill)(struct kernels *))
{
    struct kernels *table = &tables[n_usable];
    if (n_usable > 0)
        *table = tables[n_usable - 1];
    fill(table);
    table->name = name;
    n_usable++;
}

static void build_tables(void)
{
    add_table("scalar", fill_scalar);
#define ISA(isa, test) \
    if (test) \
        add_table(#isa, fill_##isa);
#include "cpu/isa.def"
#undef ISA
}

const struct kernels *kernels_of(const char *isa)
{
    pthread_once(&built, build_tables);
    for (int i = 0; i < n_usable; i++)
        if (strcmp(tables[i].name, isa) == 0)
            return &tables[i];
    return NULL;
}

const struct kernels *kernels_best(void)
{
    const char *cap = getenv("SUBBYTE_ISA");
    if (cap != NULL && cap[0] != '\0')
        return kernels_of(cap);
    pthread_once(&built, build_tables);
    return &tables[n_usable - 1];
}

int kernels_usable(const char *names[MAX_TABLES])
{
    pthread_once(&built, build_tables);
    for (int i = 0; i < n_usable; i++)
        names[i] = tables[i].name;
    return n_usable;
}
