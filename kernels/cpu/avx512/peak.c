/* VNNI multiplies bytes and adds four products to 32 bits. */
#include <immintrin.h>
#include "cpu/kernel_table.h"

enum { CHAINS = 12 };

typedef __m512i sums;

static inline __attribute__((always_inline)) sums multiply_add(sums sum, sums *x)
{
    return _mm512_dpbusd_epi32(sum, *x, *x);
}

#include "cpu/avx2/peak.h"

void fill_avx512_peak(struct kernels *table) { table->int8_peak = int8_peak; }
