/* The parts of AVX-512's int8 road. */
#ifndef SUBBYTE_AVX512_INT8_H
#define SUBBYTE_AVX512_INT8_H
#include "cpu/kernel_table.h"

void fill_avx512_pack(struct kernels *table);
void fill_avx512_dot(struct kernels *table);
void fill_avx512_gemm(struct kernels *table);
void fill_avx512_peak(struct kernels *table);
void fill_avx512_fold(struct kernels *table);

#endif
