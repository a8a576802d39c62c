/* How many int8 multiply-adds AVX2 can do at best: each product of bytes is followed by one 16-bit addition. */
#include <immintrin.h>
#include "int8.h"

enum { CHAINS = 8 };

static int64_t int8_peak(int64_t n)
{
    __m256i sum[CHAINS], x = _mm256_set1_epi8(1);
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm256_set1_epi32(i);         /* of equal ones the compiler would keep one */
    for (int64_t round = 0; round < n; round++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) {
            __asm__("" : "+x"(x));             /* another x, as far as the compiler knows: else it would multiply once */
            sum[i] = _mm256_add_epi16(sum[i], _mm256_maddubs_epi16(x, x));
        }
#pragma GCC unroll 16
    for (int i = 1; i < CHAINS; i++)
        sum[0] = _mm256_xor_si256(sum[0], sum[i]);
    volatile int used = _mm256_extract_epi16(sum[0], 0);
    (void)used;
    return n * CHAINS * 32;
}

void fill_avx2_peak(struct kernels *table) { table->int8_peak = int8_peak; }
