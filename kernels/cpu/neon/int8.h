/* The parts of NEON's int8 road. */
#ifndef SUBBYTE_NEON_INT8_H
#define SUBBYTE_NEON_INT8_H
#include "cpu/kernel_table.h"

void fill_neon_quantize(struct kernels *table);
void fill_neon_unpack(struct kernels *table);
void fill_neon_dot(struct kernels *table);
void fill_neon_gemm(struct kernels *table);
void fill_neon_peak(struct kernels *table);

#endif
