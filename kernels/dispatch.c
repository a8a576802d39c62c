/* Minimal stand-in: branch formats brings the real one. */
#include <stdlib.h>
#include <string.h>
#include "kernels.h"
#define cpu __builtin_cpu_supports
static struct kernels tables[8];
static const char *table_names[8];
static int n_tables;
static void build(void)
{
    if (n_tables) return;
    table_names[0] = "scalar";
    fill_scalar(&tables[0]);
    int n = 1;
#define ISA(isa, test) if (test) { tables[n] = tables[n - 1]; fill_##isa(&tables[n]); tables[n].name = table_names[n] = #isa; n++; }
#include "isa.def"
    n_tables = n;
}
const struct kernels *kernels_of(const char *isa)
{
    build();
    for (int i = 0; i < n_tables; i++)
        if (!strcmp(isa, table_names[i])) return &tables[i];
    return NULL;
}
const struct kernels *kernels_best(void) { build(); return &tables[n_tables - 1]; }
int kernels_usable(const char *names[8])
{
    build();
    for (int i = 0; i < n_tables; i++) names[i] = table_names[i];
    return n_tables;
}
