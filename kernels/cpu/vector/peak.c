/* How many float multiply-adds the machine can do: chains that don't wait for each other, nothing loaded or stored. */
#include "cpu/kernel_table.h"
#include "vec.h"

void FILL(float_peak)(struct kernels *table);

enum { CHAINS = 12 };      /* a result takes 4 or 5 cycles, and two or more can be begun in each; 16 registers hold them */

static int64_t float_peak(int64_t n)
{
    vec sum[CHAINS], factor = v_set(0.999f);
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++)
        sum[i] = v_set((float)i);              /* of equal ones the compiler would keep one */
    for (int64_t round = 0; round < n; round++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++)
            sum[i] = v_fma(sum[i], factor, factor);
#pragma GCC unroll 16
    for (int i = 1; i < CHAINS; i++)
        sum[0] = v_add(sum[0], sum[i]);
    volatile float used = v_sum(sum[0]);       /* what nobody reads might never be computed */
    (void)used;
    return n * CHAINS * VLANES;
}

void FILL(float_peak)(struct kernels *table) { table->float_peak = float_peak; }
