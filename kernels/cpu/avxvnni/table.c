/* AVX2 with VNNI: for processors without AVX-512, such as Intel's from Alder Lake on. Tiles are AVX2's. */
#include "int8.h"

void fill_avxvnni(struct kernels *table)
{
    fill_avxvnni_dot(table);
    fill_avxvnni_gemm(table);
    fill_avxvnni_peak(table);
}
