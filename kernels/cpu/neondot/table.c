/* NEON with dot products (ARMv8.2 dotprod): tiles, unpacking and floats are NEON's. */
#include "cpu/kernel_table.h"

void fill_neondot_dot(struct kernels *table);   /* dot.c */
void fill_neondot_gemm(struct kernels *table);  /* gemm.c */
void fill_neondot_peak(struct kernels *table);  /* peak.c */

void fill_neondot(struct kernels *table)
{
    fill_neondot_dot(table);
    fill_neondot_gemm(table);
    fill_neondot_peak(table);
}
