/* VNNI in 256 bits multiplies bytes and adds four products to 32 bits. */
#include <immintrin.h>
#include "cpu/kernel_table.h"

enum { CHAINS = 12 };

typedef __m256i sums;

static inline __attribute__((always_inline)) sums multiply_add(sums sum, sums *x)
{
    __asm__("%{vex%} vpdpbusd %1, %1, %0" : "+x"(sum) : "x"(*x));      /* gcc 12 spills around the intrinsic */
    return sum;
}

#include "cpu/avx2/peak.h"

void fill_avxvnni_peak(struct kernels *table) { table->int8_peak = int8_peak; }
