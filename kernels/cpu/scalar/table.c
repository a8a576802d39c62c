/* The reference every machine has and every faster table starts from. */
#include "table.h"

void fill_scalar(struct kernels *table)
{
    fill_scalar_formats(table);
    fill_scalar_int8(table);
    fill_scalar_fold(table);
    fill_scalar_float(table);
    fill_scalar_peak(table);
}
