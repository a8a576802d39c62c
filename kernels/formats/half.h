/* IEEE half precision by integer arithmetic: what the F16C instructions compute, on any machine. */
#ifndef SUBBYTE_HALF_H
#define SUBBYTE_HALF_H
#include <stdint.h>
#include <string.h>

static inline float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 31, fraction = half & 0x3ff;
    if (exponent == 0)                                     /* zero or subnormal: fraction * 2^-24, exact in float */
        return float_of_bits(sign | bits_of_float((float)fraction * 0x1p-24f));
    if (exponent == 31)                                    /* infinity, or a NaN, which becomes a quiet one */
        return float_of_bits(sign | 0x7f800000 | fraction << 13 | (fraction ? 0x400000 : 0));
    return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

/* Rounds to nearest, ties to even. */
static inline uint16_t float_to_half(float x)
{
    uint32_t bits = bits_of_float(x), magnitude = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (magnitude > 0x7f800000)                            /* NaN: quiet, with what fits of its payload */
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000)                           /* from 65520 on all rounds to infinity */
        return sign | 0x7c00;
    if (magnitude < 0x38800000) {                          /* below 2^-14: adding 0.5 makes the FPU round to multiples of 2^-24 */
        uint32_t rounded = bits_of_float(float_of_bits(magnitude) + 0.5f);
        return (uint16_t)(sign | (rounded - 0x3f000000));
    }
    uint32_t odd = magnitude >> 13 & 1;
    return (uint16_t)(sign | ((magnitude - 0x38000000 + 0xfff + odd) >> 13));
}

static inline float bf16_to_float(uint16_t x)
{
    return float_of_bits((uint32_t)x << 16);
}

#endif
