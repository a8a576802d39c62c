/* NEON as every 64-bit ARM has it: 8 tokens in a tile. */
#include "cpu/kernel_table.h"

void fill_neon_quantize(struct kernels *table);    /* quantize.c */
void fill_neon_unpack(struct kernels *table);      /* unpack.c */
void fill_neon_dot(struct kernels *table);         /* dot.c */
void fill_neon_gemm(struct kernels *table);        /* gemm.c */
void fill_neon_dot_float(struct kernels *table);   /* vector/dot_float.c */
void fill_neon_float(struct kernels *table);       /* vector/float.c */
void fill_neon_peak(struct kernels *table);        /* peak.c */
void fill_neon_float_peak(struct kernels *table);  /* vector/peak.c */

void fill_neon(struct kernels *table)
{
    fill_neon_quantize(table);
    fill_neon_unpack(table);
    fill_neon_dot(table);
    fill_neon_gemm(table);
    fill_neon_dot_float(table);
    fill_neon_float(table);
    fill_neon_peak(table);
    fill_neon_float_peak(table);
}
