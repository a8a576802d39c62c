/* AVX-512 with VNNI: 16 tokens in a tile. */
#include "int8.h"

void fill_avx512_float(struct kernels *table);     /* vector/float.c */
void fill_avx512_float_peak(struct kernels *table);  /* vector/peak.c */

void fill_avx512(struct kernels *table)
{
    fill_avx512_pack(table);
    fill_avx512_dot(table);
    fill_avx512_gemm(table);
    fill_avx512_fold(table);
    fill_avx512_float(table);
    fill_avx512_peak(table);
    fill_avx512_float_peak(table);
}
