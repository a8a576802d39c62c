/* How many multiply-adds the compiler gets out of plain C, on numbers in the first-level cache. */
#include "cpu/kernel_table.h"

enum { N = 256, CHAINS = 16 };

/* As far as the compiler knows, *p is another array after this: else it would compute the loops once. */
#define CHANGED(p) __asm__ volatile("" : : "r"(p) : "memory")

static int64_t int8_peak(int64_t n)
{
    int8_t a[N] = {1}, b[N] = {1};
    int32_t sum = 0;
    for (int64_t round = 0; round < n; round++) {
        CHANGED(a);
        CHANGED(b);
        for (int i = 0; i < N; i++)
            sum += a[i] * b[i];
    }
    volatile int32_t used = sum;
    (void)used;
    return n * N;
}

static int64_t float_peak(int64_t n)
{
    float a[CHAINS] = {1}, b[CHAINS] = {1}, sum[CHAINS] = {0};
    for (int64_t round = 0; round < n; round++) {
        CHANGED(a);
        CHANGED(b);
        for (int i = 0; i < CHAINS; i++)
            sum[i] += a[i] * b[i];
    }
    volatile float used = 0;
    for (int i = 0; i < CHAINS; i++)
        used += sum[i];
    return n * CHAINS;
}

void fill_scalar_peak(struct kernels *table)
{
    table->int8_peak = int8_peak;
    table->float_peak = float_peak;
}
