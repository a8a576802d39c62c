/* AVX2 with FMA and F16C: 8 tokens in a tile. */
#include "cpu/kernel_table.h"

void fill_avx2_quantize(struct kernels *table);    /* quantize.c */
void fill_avx2_dot(struct kernels *table);         /* dot.c */
void fill_avx2_gemm(struct kernels *table);        /* gemm.c */
void fill_avx2_dot_float(struct kernels *table);   /* vector/dot_float.c */
void fill_avx2_float(struct kernels *table);       /* vector/float.c */
void fill_avx2_peak(struct kernels *table);        /* peak.c */
void fill_avx2_float_peak(struct kernels *table);  /* vector/peak.c */

void fill_avx2(struct kernels *table)
{
    fill_avx2_quantize(table);
    fill_avx2_dot(table);
    fill_avx2_gemm(table);
    fill_avx2_dot_float(table);
    fill_avx2_float(table);
    fill_avx2_peak(table);
    fill_avx2_float_peak(table);
}
