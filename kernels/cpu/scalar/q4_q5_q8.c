/* Blocks of 32 weights that share one scale: the oldest formats, and IQ4_NL and MXFP4, which look their values up. */
#include "formats/codebooks.h"
#include "formats/half.h"
#include "unpack.h"

void unpack_Q4_0(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_Q4_0 *b = block;
    split_nibbles(b->qs, 16, code);
    *scale = half_to_float(b->d);
}

void unpack_Q4_1(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_Q4_1 *b = block;
    split_nibbles(b->qs, 16, code);
    *scale = half_to_float(b->d);
    *min = -half_to_float(b->m);
}

static void unpack_5_bits(const uint8_t qs[16], uint32_t qh, uint8_t *code)
{
    split_nibbles(qs, 16, code);
    for (int i = 0; i < 32; i++)
        code[i] |= (qh >> i & 1) << 4;
}

void unpack_Q5_0(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_Q5_0 *b = block;
    unpack_5_bits(b->qs, b->qh, code);
    *scale = half_to_float(b->d);
}

void unpack_Q5_1(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_Q5_1 *b = block;
    unpack_5_bits(b->qs, b->qh, code);
    *scale = half_to_float(b->d);
    *min = -half_to_float(b->m);
}

void unpack_Q8_0(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_Q8_0 *b = block;
    for (int i = 0; i < 32; i++)
        code[i] = (uint8_t)(b->qs[i] + 128);
    *scale = half_to_float(b->d);
}

void unpack_IQ4_NL(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_IQ4_NL *b = block;
    split_nibbles(b->qs, 16, code);
    for (int i = 0; i < 32; i++)
        code[i] = (uint8_t)(iq4_values[code[i]] + 127);
    *scale = half_to_float(b->d);
}

/* 2^(e - 128) for every byte e. The two smallest are subnormal floats; 255, a NaN in the standard, is a number here as
 * in gguf-py. */
static float e8m0_half(uint8_t e)
{
    return float_of_bits(e < 2 ? 0x200000u << e : (uint32_t)(e - 1) << 23);
}

void unpack_MXFP4(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_MXFP4 *b = block;
    split_nibbles(b->qs, 16, code);
    for (int i = 0; i < 32; i++)
        code[i] = (uint8_t)(mxfp4_values[code[i]] + 12);
    *scale = e8m0_half(b->e);
}
