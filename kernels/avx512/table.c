#include "../kernels.h"
void fill_avx512_float(struct kernels *table);
void fill_avx512(struct kernels *table) { table->name = "avx512"; fill_avx512_float(table); }
