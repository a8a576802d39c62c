/* The parts of AVX2's int8 road. */
#ifndef SUBBYTE_AVX2_INT8_H
#define SUBBYTE_AVX2_INT8_H
#include "cpu/kernel_table.h"

void fill_avx2_quantize(struct kernels *table);
void fill_avx2_dot(struct kernels *table);
void fill_avx2_gemm(struct kernels *table);
void fill_avx2_peak(struct kernels *table);

#endif
