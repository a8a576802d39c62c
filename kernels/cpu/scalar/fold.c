/* Unpacked rows whose blocks of 256 have one float scale, their small integer scales multiplied into the codes. */
#include <math.h>
#include "cpu/fold.h"
#include "cpu/kernel_table.h"

/* d times an integer was exact, so the integer is found again. */
static int integer_scale(float scale, float d)
{
    return isfinite(d) ? (int)lrintf(scale / d) : 0;
}

/* One block of a K-quant with 16 scales. Under d = 0 there are only mins, and d might as well be 1. */
static float fold_block(enum format f, float d, uint8_t code[FOLDED], const float scale[16], float min[16])
{
    if (d == 0)
        d = 1;
    for (int i = 0; i < FOLDED; i++)
        code[i] = (uint8_t)((code[i] - format_info[f].bias) * integer_scale(scale[i / 16], d) + folded_bias(f));
    for (int g = 0; format_has_min(f) && g < 16; g++)
        min[g] /= d;
    return d;
}

DEFINE_FOLD(Q2_K)
DEFINE_FOLD(Q3_K)

/* Blocks whose groups of 32 all have the block's scale. */
static void fold_equal(const uint8_t *row, int64_t k, uint8_t *code, const float *scale, float *min, float *folded)
{
    for (int64_t b = 0; b < k / FOLDED; b++)
        folded[b] = scale[8 * b];
}

void fill_scalar_fold(struct kernels *table)
{
    table->fold[FORMAT_Q2_K] = fold_Q2_K;
    table->fold[FORMAT_Q3_K] = fold_Q3_K;
    table->fold[FORMAT_TQ1_0] = table->fold[FORMAT_TQ2_0] = fold_equal;
}
