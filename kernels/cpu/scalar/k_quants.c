/* Blocks of 256 weights whose groups have small integer scales under one half-precision scale: K-quants, and IQ4_XS,
 * which is built like them. The product of both scales is exact in float: 11 bits by at most 8. */
#include "formats/codebooks.h"
#include "formats/half.h"
#include "unpack.h"

void unpack_Q2_K(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_Q2_K *b = block;
    float dmin = half_to_float(b->dmin);
    *factor = half_to_float(b->d);
    for (int i = 0; i < 256; i++)
        code[i] = (uint8_t)two_bits(b->qs, i);
    for (int g = 0; g < 16; g++) {
        scale[g] = b->scales[g] & 15;
        min[g] = dmin * (b->scales[g] >> 4);
    }
}

void unpack_Q3_K(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_Q3_K *b = block;
    *factor = half_to_float(b->d);
    for (int i = 0; i < 256; i++)
        code[i] = (uint8_t)(two_bits(b->qs, i) | one_bit(b->hmask, i) << 2);
    for (int g = 0; g < 16; g++) {
        int low = b->scales[g % 8] >> 4 * (g / 8) & 15, high = b->scales[8 + g % 4] >> 2 * (g / 4) & 3;
        scale[g] = (float)((low | high << 4) - 32);
    }
}

/* The 6-bit scales and mins of Q4_K and Q5_K; blocks.h draws them. */
static void unpack_scales_mins(const uint8_t s[12], float dmin, float *scale, float *min)
{
    for (int g = 0; g < 4; g++) {
        scale[g] = s[g] & 63;
        min[g] = dmin * (s[4 + g] & 63);
        scale[4 + g] = (s[8 + g] & 15) | s[g] >> 6 << 4;
        min[4 + g] = dmin * (s[8 + g] >> 4 | s[4 + g] >> 6 << 4);
    }
}

void unpack_Q4_K(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_Q4_K *b = block;
    for (int i = 0; i < 4; i++)
        split_nibbles(b->qs + 32 * i, 32, code + 64 * i);
    *factor = half_to_float(b->d);
    unpack_scales_mins(b->scales, half_to_float(b->dmin), scale, min);
}

void unpack_Q5_K(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_Q5_K *b = block;
    for (int i = 0; i < 4; i++)
        split_nibbles(b->qs + 32 * i, 32, code + 64 * i);
    for (int i = 0; i < 256; i++)
        code[i] |= (uint8_t)(one_bit(b->qh, i) << 4);
    *factor = half_to_float(b->d);
    unpack_scales_mins(b->scales, half_to_float(b->dmin), scale, min);
}

void unpack_Q6_K(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_Q6_K *b = block;
    *factor = half_to_float(b->d);
    for (int i = 0; i < 2; i++)
        split_nibbles(b->ql + 64 * i, 64, code + 128 * i);
    for (int i = 0; i < 256; i++)
        code[i] |= (uint8_t)(two_bits(b->qh, i) << 4);
    for (int g = 0; g < 16; g++)
        scale[g] = b->scales[g];
}

void unpack_IQ4_XS(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_IQ4_XS *b = block;
    *factor = half_to_float(b->d);
    for (int g = 0; g < 8; g++) {
        split_nibbles(b->qs + 16 * g, 16, code + 32 * g);
        int low = nibble(b->scales_l, g), high = b->scales_h >> 2 * g & 3;
        scale[g] = (float)((low | high << 4) - 32);
    }
    for (int i = 0; i < 256; i++)
        code[i] = (uint8_t)(iq4_values[code[i]] + 127);
}
