/* Ternary formats: 256 weights of -1, 0 or 1 (TQ2_0 has room for 2 as well) under one scale. Each group of 32 gets 1 for a
 * scale of its own, so that kernels can treat these formats as any other. */
#include "formats/half.h"
#include "unpack.h"

static void set_factor(uint16_t d, float *scale, float *factor)
{
    for (int g = 0; g < 8; g++)
        scale[g] = 1;
    *factor = half_to_float(d);
}

/* A byte stands for the fraction byte / 256, whose first ternary digits are weights. Multiplying by 3^digit modulo 256
 * drops the digits before; times 3, what carries over 256 is the digit. First all n bytes give their first digit, then
 * their second, and so on. Returns the end of the codes. */
static uint8_t *put_digits(const uint8_t *bytes, int n, int n_digits, uint8_t *code)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    for (int digit = 0; digit < n_digits; digit++)
        for (int j = 0; j < n; j++)
            *code++ = (uint8_t)((uint8_t)(bytes[j] * power[digit]) * 3 >> 8);
    return code;
}

void unpack_TQ1_0(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_TQ1_0 *b = block;
    code = put_digits(b->qs, 32, 5, code);
    code = put_digits(b->qs + 32, 16, 5, code);
    put_digits(b->qh, 4, 4, code);
    set_factor(b->d, scale, factor);
}

void unpack_TQ2_0(const void *block, uint8_t *code, float *scale, float *factor, float *min)
{
    const struct block_TQ2_0 *b = block;
    for (int i = 0; i < 256; i++)
        code[i] = (uint8_t)two_bits(b->qs, i);
    set_factor(b->d, scale, factor);
}
