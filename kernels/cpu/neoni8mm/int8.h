/* The parts of the int8 road with NEON's matrix products. */
#ifndef SUBBYTE_NEONI8MM_INT8_H
#define SUBBYTE_NEONI8MM_INT8_H
#include "cpu/kernel_table.h"

void fill_neoni8mm_gemm(struct kernels *table);
void fill_neoni8mm_peak(struct kernels *table);

#endif
