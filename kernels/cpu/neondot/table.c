/* NEON with dot products (ARMv8.2 dotprod): tiles, unpacking and floats are NEON's. */
#include "int8.h"

void fill_neondot(struct kernels *table)
{
    fill_neondot_dot(table);
    fill_neondot_gemm(table);
    fill_neondot_peak(table);
}
