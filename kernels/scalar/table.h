/* The parts of the scalar table; together they fill every slot. */
#ifndef SUBBYTE_SCALAR_TABLE_H
#define SUBBYTE_SCALAR_TABLE_H
#include "../kernels.h"

void fill_scalar_formats(struct kernels *table);   /* formats.c: unpack, to_float */

#endif
