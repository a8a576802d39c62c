/* How many multiply-adds of bf16 numbers vdpbf16ps can do. */
#include "cpu/kernel_table.h"
#include "vec.h"

enum { CHAINS = 16 };      /* a result takes 6 cycles or so */

static int64_t bf16_peak(int64_t n)
{
    vec sum[CHAINS];
    __m512bh x = (__m512bh)_mm512_set1_epi16(0x3f80);      /* 1 */
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++)
        sum[i] = v_set((float)i);              /* of equal ones the compiler would keep one */
    for (int64_t round = 0; round < n; round++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_dpbf16_ps(sum[i], x, x);
#pragma GCC unroll 16
    for (int i = 1; i < CHAINS; i++)
        sum[0] = v_add(sum[0], sum[i]);
    volatile float used = v_sum(sum[0]);
    (void)used;
    return n * CHAINS * 2 * VLANES;
}

void fill_avx512bf16_peak(struct kernels *table) { table->bf16_peak = bf16_peak; }
