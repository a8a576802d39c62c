#include "../kernels.h"
void fill_avx2_float(struct kernels *table);
void fill_avx2(struct kernels *table) { table->name = "avx2"; fill_avx2_float(table); }
