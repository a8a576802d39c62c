/* Unpacked rows whose groups have small integers for scales, these multiplied into the codes. */
#include "cpu/kernel_table.h"

static inline void fold(enum format f, int64_t k, uint8_t *code, const float *scale)
{
    const struct format_info *format = &format_info[f];
    for (int64_t i = 0; i < k; i++)
        code[i] = (uint8_t)((code[i] - format->bias) * (int)scale[i / format->group] + folded_bias(f));
}

static void fold_Q2_K(int64_t k, uint8_t *code, const float *scale) { fold(FORMAT_Q2_K, k, code, scale); }
static void fold_Q3_K(int64_t k, uint8_t *code, const float *scale) { fold(FORMAT_Q3_K, k, code, scale); }

/* Every scale of these is 1. */
static void fold_nothing(int64_t k, uint8_t *code, const float *scale)
{
}

void fill_scalar_fold(struct kernels *table)
{
    table->fold[FORMAT_Q2_K] = fold_Q2_K;
    table->fold[FORMAT_Q3_K] = fold_Q3_K;
    table->fold[FORMAT_TQ1_0] = table->fold[FORMAT_TQ2_0] = fold_nothing;
}
