/* The parts of the int8 road with NEON's dot products. */
#ifndef SUBBYTE_NEONDOT_INT8_H
#define SUBBYTE_NEONDOT_INT8_H
#include "cpu/kernel_table.h"

void fill_neondot_dot(struct kernels *table);
void fill_neondot_gemm(struct kernels *table);
void fill_neondot_peak(struct kernels *table);

#endif
