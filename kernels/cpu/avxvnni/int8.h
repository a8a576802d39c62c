/* The parts of AVX-VNNI's int8 road. */
#ifndef SUBBYTE_AVXVNNI_INT8_H
#define SUBBYTE_AVXVNNI_INT8_H
#include "cpu/kernel_table.h"

void fill_avxvnni_dot(struct kernels *table);
void fill_avxvnni_gemm(struct kernels *table);
void fill_avxvnni_peak(struct kernels *table);

#endif
