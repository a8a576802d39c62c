#include "int8.h"

void fill_avx2_int8(struct kernels *table)
{
    fill_avx2_quantize(table);
    fill_avx2_dot(table);
    fill_avx2_gemm(table);
}
