/* A matrix product multiplies each of two times eight bytes with two others and adds the products to 32 bits. */
#include <arm_neon.h>
#include "cpu/kernel_table.h"

enum { AT_ONCE = 32 };

typedef int32x4_t sums;

static inline sums multiply_add(sums sum, int8x16_t x) { return vmmlaq_s32(sum, x, x); }

#include "cpu/neon/peak.h"

void fill_neoni8mm_peak(struct kernels *table) { table->int8_peak = int8_peak; }
