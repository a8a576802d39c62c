#include "int8.h"

void fill_avx512_int8(struct kernels *table)
{
    fill_avx512_quantize(table);
    fill_avx512_dot(table);
    fill_avx512_gemm(table);
}
