/* AVX2 multiplies bytes to pairs of products, each followed by one 16-bit addition. */
#include <immintrin.h>
#include "cpu/kernel_table.h"

enum { CHAINS = 8 };

typedef __m256i sums;

static inline __attribute__((always_inline)) sums multiply_add(sums sum, sums *x)
{
    __asm__("" : "+x"(*x));                    /* another x, as far as the compiler knows: else it would multiply once */
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(*x, *x));
}

#include "peak.h"

void fill_avx2_peak(struct kernels *table) { table->int8_peak = int8_peak; }
