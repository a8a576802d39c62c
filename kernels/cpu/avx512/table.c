/* AVX-512 with VNNI: 16 tokens in a tile. */
#include "cpu/kernel_table.h"

void fill_avx512_pack(struct kernels *table);        /* pack.c */
void fill_avx512_dot(struct kernels *table);         /* dot.c */
void fill_avx512_gemm(struct kernels *table);        /* gemm.c */
void fill_avx512_fold(struct kernels *table);        /* fold.c */
void fill_avx512_float(struct kernels *table);       /* vector/float.c */
void fill_avx512_peak(struct kernels *table);        /* peak.c */
void fill_avx512_float_peak(struct kernels *table);  /* vector/peak.c */
void fill_scalar_fold(struct kernels *table);        /* scalar/fold.c */

void fill_avx512(struct kernels *table)
{
    fill_avx512_pack(table);
    fill_avx512_dot(table);
    fill_avx512_gemm(table);
    fill_scalar_fold(table);           /* AVX2's gemm takes none; those of the ternary formats have nothing to multiply */
    fill_avx512_fold(table);
    fill_avx512_float(table);
    fill_avx512_peak(table);
    fill_avx512_float_peak(table);
}
