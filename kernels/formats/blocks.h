/* The blocks of every quantized format, byte for byte as a GGUF file stores them; sizes are asserted below.
 *
 * How to read the drawings. The fields stand in file order with their bytes below. Numbers are little-endian; `d`, `m`
 * and `dmin` are bit patterns of half-precision floats. Weights are numbered from 0 within the block. "lo 0-15, hi
 * 16-31" says that byte j of the field holds weight j in its low half and weight 16 + j in its high half; "4 x 2 bits:
 * j, 32+j, 64+j, 96+j" lists the weights of byte j from the lowest bits up. A group is 16 or 32 consecutive weights
 * with a scale of their own. Code books and signs of the IQ formats are explained in codebooks.h.
 *
 * Source: the GGUF format as written by llama.cpp and read by gguf-py (quants.py). */
#ifndef SUBBYTE_BLOCKS_H
#define SUBBYTE_BLOCKS_H
#include <stdint.h>
#include "formats.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "GGUF files are read in place, as little-endian");

/* packed: nothing in a file is aligned. may_alias: the bytes were mapped from a file, not stored as this type. */
#define BLOCK struct __attribute__((packed, may_alias))

/* ---- blocks of 32 weights, one scale ---- */

/* Q4_0: d * (q - 8)
 *   | d | qs: lo 0-15, hi 16-31 |
 *     2   16 */
BLOCK block_Q4_0 { uint16_t d; uint8_t qs[16]; };

/* Q4_1: d * q + m
 *   | d | m | qs: lo 0-15, hi 16-31 |
 *     2   2   16 */
BLOCK block_Q4_1 { uint16_t d, m; uint8_t qs[16]; };

/* Q5_0: d * (q - 16); bit i of qh is bit 4 of weight i
 *   | d | qh | qs: lo 0-15, hi 16-31 |
 *     2   4    16 */
BLOCK block_Q5_0 { uint16_t d; uint32_t qh; uint8_t qs[16]; };

/* Q5_1: d * q + m
 *   | d | m | qh | qs: lo 0-15, hi 16-31 |
 *     2   2   4    16 */
BLOCK block_Q5_1 { uint16_t d, m; uint32_t qh; uint8_t qs[16]; };

/* Q8_0: d * q
 *   | d | qs: signed, 0-31 |
 *     2   32 */
BLOCK block_Q8_0 { uint16_t d; int8_t qs[32]; };

/* IQ4_NL: d * iq4_values[q]
 *   | d | qs: lo 0-15, hi 16-31 |
 *     2   16 */
BLOCK block_IQ4_NL { uint16_t d; uint8_t qs[16]; };

/* MXFP4: 2^(e - 128) * mxfp4_values[q]; e is an E8M0 exponent, the values are doubled to be integers
 *   | e | qs: lo 0-15, hi 16-31 |
 *     1   16 */
BLOCK block_MXFP4 { uint8_t e; uint8_t qs[16]; };

/* ---- K-quants: 256 weights, small integer scales in 8 or 16 groups under one float ---- */

/* Q2_K: d * scale * q - dmin * min, groups of 16
 *   | scales: lo scale, hi min | qs: twice (32 bytes, 4 x 2 bits: j, 32+j, 64+j, 96+j) | d | dmin |
 *     16                         64                                                      2   2 */
BLOCK block_Q2_K { uint8_t scales[16]; uint8_t qs[64]; uint16_t d, dmin; };

/* Q3_K: d * (scale - 32) * (q - 4), groups of 16; bit b of hmask[j] is bit 2 of weight 32 b + j.
 *   | hmask | qs: as Q2_K | scales | d |
 *     32      64            12       2
 * scales: group g has its low 4 bits in byte g % 8 (lo g < 8, hi g >= 8), its high 2 bits in byte 8 + g % 4 from bit
 * 2 (g / 4) on. */
BLOCK block_Q3_K { uint8_t hmask[32]; uint8_t qs[64]; uint8_t scales[12]; uint16_t d; };

/* Q4_K: d * scale * q - dmin * min, groups of 32
 *   | d | dmin | scales | qs: 4 times (32 bytes: lo 0-31, hi 32-63) |
 *     2   2      12       128
 * scales: 8 scales and 8 mins of 6 bits. Capitals are scales A-H, small letters mins a-h, highest bit first:
 *   byte 0-3:  EEAAAAAA FFBBBBBB GGCCCCCC HHDDDDDD   the low bits of E-H are in bytes 8-11
 *   byte 4-7:  eeaaaaaa ffbbbbbb ggcccccc hhdddddd
 *   byte 8-11: eeeeEEEE ffffFFFF ggggGGGG hhhhHHHH */
BLOCK block_Q4_K { uint16_t d, dmin; uint8_t scales[12]; uint8_t qs[128]; };

/* Q5_K: as Q4_K; bit b of qh[j] is bit 4 of weight 32 b + j
 *   | d | dmin | scales | qh | qs |
 *     2   2      12       32   128 */
BLOCK block_Q5_K { uint16_t d, dmin; uint8_t scales[12]; uint8_t qh[32]; uint8_t qs[128]; };

/* Q6_K: d * scale * (q - 32), groups of 16; low 4 bits in ql, high 2 bits in qh
 *   | ql: twice (64 bytes: lo 0-63, hi 64-127) | qh: as Q2_K's qs | scales: signed | d |
 *     128                                        64                 16               2 */
BLOCK block_Q6_K { uint8_t ql[128]; uint8_t qh[64]; int8_t scales[16]; uint16_t d; };

/* IQ4_XS: d * (scale - 32) * iq4_values[q], groups of 32
 *   | d | scales_h: 8 x 2 high bits | scales_l: lo even, hi odd group | qs: 8 times (16 bytes: lo 0-15, hi 16-31) |
 *     2   2                           4                                 128 */
BLOCK block_IQ4_XS { uint16_t d, scales_h; uint8_t scales_l[4]; uint8_t qs[128]; };

/* ---- code book formats: 256 weights; an index chooses 8 (IQ1, IQ2) or 4 (IQ3) magnitudes at once ---- */

/* IQ2_XXS: d/8 * (2 scale + 1) * +-magnitude, groups of 32
 *   | d | 8 times: grid: 4 indices | signs: 4 x 7 bits, scale in the top 4 bits |
 *     2            4                 4 */
BLOCK block_IQ2_XXS { uint16_t d; BLOCK { uint8_t grid[4]; uint32_t signs; } group[8]; };

/* IQ2_XS: d/8 * (2 scale + 1) * +-magnitude, groups of 16
 *   | d | qs: 32 x (9 bits index, 7 bits signs) | scales: lo even, hi odd group |
 *     2   64                                      8 */
BLOCK block_IQ2_XS { uint16_t d; uint16_t qs[32]; uint8_t scales[8]; };

/* IQ2_S: d/8 * (2 scale + 1) * +-magnitude, groups of 16
 *   | d | qs: low 8 bits of 32 indices | signs: 1 bit a weight | qh: 32 x 2 high bits | scales: lo even, hi odd group |
 *     2   32                             32                      8                      8 */
BLOCK block_IQ2_S { uint16_t d; uint8_t qs[32]; uint8_t signs[32]; uint8_t qh[8]; uint8_t scales[8]; };

/* IQ3_XXS: d/4 * (2 scale + 1) * +-magnitude, groups of 32
 *   | d | qs: 64 indices | signs: 8 x (4 x 7 bits, scale in the top 4 bits) |
 *     2   64               32 */
BLOCK block_IQ3_XXS { uint16_t d; uint8_t qs[64]; uint32_t signs[8]; };

/* IQ3_S: d * (2 scale + 1) * +-magnitude, groups of 32
 *   | d | qs: low 8 bits of 64 indices | qh: 64 x 1 high bit | signs: 1 bit a weight | scales: lo even, hi odd group |
 *     2   64                             8                     32                      4 */
BLOCK block_IQ3_S { uint16_t d; uint8_t qs[64]; uint8_t qh[8]; uint8_t signs[32]; uint8_t scales[4]; };

/* IQ1_S: d * (2 scale + 1) * (t +- 1/8), t one of -1, 0, 1, groups of 32
 *   | d | qs: low 8 bits of 32 indices | qh: 8 x (4 x 3 high bits, 3 bits scale, 1 bit: minus 1/8) |
 *     2   32                             16 */
BLOCK block_IQ1_S { uint16_t d; uint8_t qs[32]; uint16_t qh[8]; };

/* IQ1_M: as IQ1_S with groups of 16 and a sign of 1/8 for every 8 weights
 *   | qs: low 8 bits of 32 indices | qh: 32 x (3 high bits, 1 bit: minus 1/8) | scales: 4 x (4 x 3 bits, 4 bits of d) |
 *     32                             16                                         8 */
BLOCK block_IQ1_M { uint8_t qs[32]; uint8_t qh[16]; uint16_t scales[4]; };

/* ---- ternary: 256 weights, one scale ---- */

/* TQ1_0: d * (t - 1); 5 ternary digits a byte, as a fraction of 256: see ternary.c
 *   | qs: 32 bytes: j, 32+j, .. 128+j; 16 bytes: 160+j, 176+j, .. 224+j | qh: 240+j, 244+j, 248+j, 252+j | d |
 *     48                                                                  4                                2 */
BLOCK block_TQ1_0 { uint8_t qs[48]; uint8_t qh[4]; uint16_t d; };

/* TQ2_0: d * (q - 1)
 *   | qs: as Q2_K | d |
 *     64            2 */
BLOCK block_TQ2_0 { uint8_t qs[64]; uint16_t d; };

#undef BLOCK

#define FORMAT(name, id, block, bytes, group, bias, max_code) \
    QUANTIZED(group, _Static_assert(sizeof(struct block_##name) == bytes, #name);)
#include "formats.def"
#undef FORMAT

#endif
