/* The one definition of int8 activations that all instruction sets share, so that they quantize to identical bits. */
#ifndef SUBBYTE_Q8_H
#define SUBBYTE_Q8_H
#include <math.h>
#include <stdint.h>
#include <string.h>

/* Scale of a group of 32 from the largest bit pattern of |x|: integers order NaN above infinity above all numbers, which no float
 * maximum does. q = round to nearest even of x * inverse; an inverse of 0 says that all q are 0.
 * NaN or infinity gives a NaN scale, so that every product with the row is NaN and the step is found out.
 * Below 2^-120 the inverse would overflow; such activations count as zeros. */
static inline float q8_scale(uint32_t max_bits, float *inverse)
{
    float max;
    memcpy(&max, &max_bits, sizeof max);
    *inverse = 0;
    if (max_bits >= 0x7f800000)
        return NAN;
    if (max < 0x1p-120f)
        return 0;
    *inverse = 127 / max;
    return max / 127;
}

#endif
