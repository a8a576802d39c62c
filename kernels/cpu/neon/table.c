/* NEON as every 64-bit ARM has it: 8 tokens in a tile. */
#include "int8.h"

void fill_neon_float(struct kernels *table);       /* vector/float.c */
void fill_neon_float_peak(struct kernels *table);  /* vector/peak.c */

void fill_neon(struct kernels *table)
{
    fill_neon_quantize(table);
    fill_neon_unpack(table);
    fill_neon_dot(table);
    fill_neon_gemm(table);
    fill_neon_float(table);
    fill_neon_peak(table);
    fill_neon_float_peak(table);
}
