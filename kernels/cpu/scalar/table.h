/* The parts of the scalar table; together they fill every slot but `dot`, which has no scalar version: unpack, then dot_codes. */
#ifndef SUBBYTE_SCALAR_TABLE_H
#define SUBBYTE_SCALAR_TABLE_H
#include "cpu/kernel_table.h"

void fill_scalar_formats(struct kernels *table);   /* formats.c: unpack, to_float */
void fill_scalar_int8(struct kernels *table);      /* int8.c: quantize, pack_q8, dot_codes, gemm */
void fill_scalar_fold(struct kernels *table);      /* fold.c: fold */
void fill_scalar_float(struct kernels *table);     /* float.c: products, the rest of a layer, attention */
void fill_scalar_peak(struct kernels *table);      /* peak.c: the limits of the machine */

#endif
