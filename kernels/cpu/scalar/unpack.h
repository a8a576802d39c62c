/* The readable reference of every quantized format: one function each, from a block to codes, scales and mins.
 *
 * unpack_<FORMAT>(block, code, scale, factor, min): code [block], scale and min [block / group], factor [1], so that weight i is
 * (code[i] - bias) * (scale[i / group] * *factor) - min[i / group]. factor and min are left alone by the formats that have none. */
#ifndef SUBBYTE_SCALAR_UNPACK_H
#define SUBBYTE_SCALAR_UNPACK_H
#include "formats/blocks.h"

typedef void unpack_fn(const void *block, uint8_t *code, float *scale, float *factor, float *min);

#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, unpack_fn unpack_##name;)
#include "formats/formats.def"
#undef FORMAT

/* n bytes hold 2 n codes of 4 bits: the first n in their low halves, the next n in their high halves. */
static inline void split_nibbles(const uint8_t *bytes, int n, uint8_t *code)
{
    for (int j = 0; j < n; j++) {
        code[j] = bytes[j] & 15;
        code[n + j] = bytes[j] >> 4;
    }
}

/* Nibble i of an array that holds them in order, the low half of a byte first. */
static inline int nibble(const uint8_t *bytes, int i)
{
    return bytes[i / 2] >> 4 * (i % 2) & 15;
}

/* Field i of an array where 32 bytes hold 128 fields of 2 bits: fields j, 32 + j, 64 + j and 96 + j share a byte. */
static inline int two_bits(const uint8_t *bytes, int i)
{
    return bytes[i / 128 * 32 + i % 32] >> 2 * (i % 128 / 32) & 3;
}

/* Bit i of an array where 32 bytes hold 256 bits: bits j, 32 + j, .. 224 + j share a byte. */
static inline int one_bit(const uint8_t bytes[32], int i)
{
    return bytes[i % 32] >> i / 32 & 1;
}

#endif
