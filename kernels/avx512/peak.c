/* How many int8 multiply-adds VNNI can do. */
#include <immintrin.h>
#include "int8.h"

enum { CHAINS = 12 };

static int64_t int8_peak(int64_t n)
{
    __m512i sum[CHAINS], x = _mm512_set1_epi8(1);
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_set1_epi32(i);         /* of equal ones the compiler would keep one */
    for (int64_t round = 0; round < n; round++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_dpbusd_epi32(sum[i], x, x);
#pragma GCC unroll 16
    for (int i = 1; i < CHAINS; i++)
        sum[0] = _mm512_xor_si512(sum[0], sum[i]);
    volatile int used = _mm512_reduce_add_epi32(sum[0]);
    (void)used;
    return n * CHAINS * 64;
}

void fill_avx512_peak(struct kernels *table) { table->int8_peak = int8_peak; }
