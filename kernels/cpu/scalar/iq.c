/* Code book formats: an index chooses the magnitudes of several weights at once, signs and scales come apart.
 * codebooks.h explains the books, blocks.h draws the blocks. All products of scales are exact in float. */
#include "formats/codebooks.h"
#include "formats/half.h"
#include "unpack.h"

enum { IQ2_BIAS = 43, IQ3_XXS_BIAS = 62, IQ3_S_BIAS = 15 };   /* the greatest magnitudes of the books */

/* Eight weights: byte i of magnitudes, negative where bit i of signs is set. */
static void put_signed(uint64_t magnitudes, unsigned signs, int bias, uint8_t *code)
{
    for (int i = 0; i < 8; i++) {
        int magnitude = magnitudes >> 8 * i & 255;
        code[i] = (uint8_t)(signs >> i & 1 ? bias - magnitude : bias + magnitude);
    }
}

/* Eight weights of IQ1, t +- 1/8 as eighths, with 8 (t + 1) from the book. */
static void put_ternary(uint64_t entry, int minus, uint8_t *code)
{
    for (int i = 0; i < 8; i++)
        code[i] = (uint8_t)((entry >> 8 * i & 255) + (minus ? 0 : 2));
}

static uint64_t two_entries(const uint32_t *grid, int first, int second)
{
    return grid[first] | (uint64_t)grid[second] << 32;
}

void unpack_IQ2_XXS(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_IQ2_XXS *b = block;
    *factor = half_to_float(b->d) * 0.125f;
    for (int g = 0; g < 8; g++) {
        uint32_t signs = b->group[g].signs;
        for (int j = 0; j < 4; j++) {
            uint64_t entry = iq2xxs_grid[b->group[g].grid[j]];
            put_signed(entry, even_signs(signs >> 7 * j & 127), IQ2_BIAS, code + 32 * g + 8 * j);
        }
        scale[g] = 2 * (signs >> 28) + 1;
    }
}

void unpack_IQ2_XS(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_IQ2_XS *b = block;
    *factor = half_to_float(b->d) * 0.125f;
    for (int i = 0; i < 32; i++)
        put_signed(iq2xs_grid[b->qs[i] & 511], even_signs(b->qs[i] >> 9), IQ2_BIAS, code + 8 * i);
    for (int g = 0; g < 16; g++)
        scale[g] = 2 * nibble(b->scales, g) + 1;
}

void unpack_IQ2_S(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_IQ2_S *b = block;
    *factor = half_to_float(b->d) * 0.125f;
    for (int i = 0; i < 32; i++) {
        int high = b->qh[i / 4] >> 2 * (i % 4) & 3;
        put_signed(iq2s_grid[b->qs[i] | high << 8], b->signs[i], IQ2_BIAS, code + 8 * i);
    }
    for (int g = 0; g < 16; g++)
        scale[g] = 2 * nibble(b->scales, g) + 1;
}

void unpack_IQ3_XXS(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_IQ3_XXS *b = block;
    *factor = half_to_float(b->d) * 0.25f;
    for (int i = 0; i < 32; i++) {
        unsigned signs = even_signs(b->signs[i / 4] >> 7 * (i % 4) & 127);
        put_signed(two_entries(iq3xxs_grid, b->qs[2 * i], b->qs[2 * i + 1]), signs, IQ3_XXS_BIAS, code + 8 * i);
    }
    for (int g = 0; g < 8; g++)
        scale[g] = 2 * (b->signs[g] >> 28) + 1;
}

void unpack_IQ3_S(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_IQ3_S *b = block;
    *factor = half_to_float(b->d);
    for (int i = 0; i < 32; i++) {
        int high = b->qh[i / 4] >> 2 * (i % 4);
        int first = b->qs[2 * i] | (high & 1) << 8, second = b->qs[2 * i + 1] | (high & 2) << 7;
        put_signed(two_entries(iq3s_grid, first, second), b->signs[i], IQ3_S_BIAS, code + 8 * i);
    }
    for (int g = 0; g < 8; g++)
        scale[g] = 2 * nibble(b->scales, g) + 1;
}

void unpack_IQ1_S(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_IQ1_S *b = block;
    *factor = half_to_float(b->d) * 0.125f;                /* codes count eighths */
    for (int i = 0; i < 32; i++) {
        int qh = b->qh[i / 4], high = qh >> 3 * (i % 4) & 7;
        put_ternary(iq1_grid[b->qs[i] | high << 8], qh >> 15, code + 8 * i);
    }
    for (int g = 0; g < 8; g++)
        scale[g] = 2 * (b->qh[g] >> 12 & 7) + 1;
}

void unpack_IQ1_M(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_IQ1_M *b = block;
    uint16_t bits = 0;                                     /* d lies in the top four bits of each word of scales */
    for (int i = 0; i < 4; i++)
        bits |= (uint16_t)(b->scales[i] >> 12 << 4 * i);
    *factor = half_to_float(bits) * 0.125f;
    for (int i = 0; i < 32; i++) {
        int high = nibble(b->qh, i);
        put_ternary(iq1_grid[b->qs[i] | (high & 7) << 8], high >> 3, code + 8 * i);
    }
    for (int g = 0; g < 16; g++)
        scale[g] = 2 * (b->scales[g / 4] >> 3 * (g % 4) & 7) + 1;
}
