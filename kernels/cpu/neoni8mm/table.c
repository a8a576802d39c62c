/* NEON with matrix products of int8 (ARMv8.6 i8mm): a single token goes by dot products. */
#include "cpu/kernel_table.h"

void fill_neoni8mm_gemm(struct kernels *table);  /* gemm.c */
void fill_neoni8mm_peak(struct kernels *table);  /* peak.c */

void fill_neoni8mm(struct kernels *table)
{
    fill_neoni8mm_gemm(table);
    fill_neoni8mm_peak(table);
}
