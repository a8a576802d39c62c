/* fold_F of a K-quant, made from fold_block for one block of it. */
#ifndef SUBBYTE_FOLD_H
#define SUBBYTE_FOLD_H
#include "formats/blocks.h"
#include "formats/half.h"
#include "kernel_table.h"

/* fold_block(format, d, code, scale, min) folds a block in place and returns its one scale. */
#define DEFINE_FOLD(name) \
    static void fold_##name(const uint8_t *row, int64_t k, uint8_t *code, const float *scale, float *min, float *folded) \
    { \
        const struct block_##name *block = (const void *)row; \
        for (int64_t b = 0; b < k / FOLDED; b++) \
            folded[b] = fold_block(FORMAT_##name, half_to_float(block[b].d), code + b * FOLDED, scale + 16 * b, min + 16 * b); \
    }

#endif
