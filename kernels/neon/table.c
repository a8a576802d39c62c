/* NEON as every 64-bit ARM has it: 8 tokens in a tile. */
#include "../kernels.h"

void fill_neon_float(struct kernels *table);       /* vector/float.c */

void fill_neon(struct kernels *table)
{
    fill_neon_float(table);
}
