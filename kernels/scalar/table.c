#include "../kernels.h"
void fill_scalar_float(struct kernels *table);
void fill_scalar(struct kernels *table) { table->name = "scalar"; fill_scalar_float(table); }
