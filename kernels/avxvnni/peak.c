/* How many int8 multiply-adds VNNI can do in 256 bits. */
#include <immintrin.h>
#include "int8.h"

enum { CHAINS = 12 };

static int64_t int8_peak(int64_t n)
{
    __m256i sum[CHAINS], x = _mm256_set1_epi8(1);
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm256_set1_epi32(i);         /* of equal ones the compiler would keep one */
    for (int64_t round = 0; round < n; round++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++)
            __asm__("%{vex%} vpdpbusd %1, %1, %0" : "+x"(sum[i]) : "x"(x));      /* gcc 12 spills around the intrinsic */
#pragma GCC unroll 16
    for (int i = 1; i < CHAINS; i++)
        sum[0] = _mm256_xor_si256(sum[0], sum[i]);
    volatile int used = _mm256_extract_epi32(sum[0], 0);
    (void)used;
    return n * CHAINS * 32;
}

void fill_avxvnni_peak(struct kernels *table) { table->int8_peak = int8_peak; }
