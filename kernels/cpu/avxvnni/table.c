/* AVX2 with VNNI: for processors without AVX-512, such as Intel's from Alder Lake on. Tiles are AVX2's. */
#include "cpu/kernel_table.h"

void fill_avxvnni_dot(struct kernels *table);   /* dot.c */
void fill_avxvnni_gemm(struct kernels *table);  /* gemm.c */
void fill_avxvnni_peak(struct kernels *table);  /* peak.c */

void fill_avxvnni(struct kernels *table)
{
    fill_avxvnni_dot(table);
    fill_avxvnni_gemm(table);
    fill_avxvnni_peak(table);
}
