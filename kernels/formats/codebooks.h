/* Code books: what the indices in IQ1, IQ2 and IQ3 blocks and the 4-bit codes of IQ4 and MXFP4 stand for.
 *
 * They belong to the file format, as its authors chose them: llama.cpp writes files with them, gguf-py carries the same
 * (quants.py, against which tests/kernels/test_formats.py compares each). An entry of a grid holds the magnitudes of 8 (IQ1,
 * IQ2) or 4 (IQ3) consecutive weights, one a byte, the first in the lowest byte. Of IQ1's weights, -1, 0 and 1, it holds 8 (w + 1). */
#ifndef SUBBYTE_CODEBOOKS_H
#define SUBBYTE_CODEBOOKS_H
#include <stdint.h>

#define FORMATS_WITH_BOOKS(F) F(IQ1_S) F(IQ1_M) F(IQ2_XXS) F(IQ2_XS) F(IQ2_S) F(IQ3_XXS) F(IQ3_S)
#define FORMATS_WITHOUT_BOOKS(F) F(Q4_0) F(Q4_1) F(Q5_0) F(Q5_1) F(Q8_0) F(Q2_K) F(Q3_K) F(Q4_K) F(Q5_K) F(Q6_K) F(IQ4_NL) F(IQ4_XS) \
    F(TQ1_0) F(TQ2_0) F(MXFP4)

extern const uint64_t iq1_grid[2048];      /* IQ1_S, IQ1_M: 0, 8, 16 */
extern const uint64_t iq2xxs_grid[256];    /* 8, 25, 43 */
extern const uint64_t iq2xs_grid[512];     /* 8, 25, 43 */
extern const uint64_t iq2s_grid[1024];     /* 8, 25, 43 */
extern const uint32_t iq3xxs_grid[256];    /* 4, 12, 20, 28, 36, 44, 52, 62 */
extern const uint32_t iq3s_grid[512];      /* 1, 3, 5, .. 15 */

/* The same, packed for kernels that keep a book in vector registers: an entry is a number of 16 bits, the low bytes of all
 * entries come before their high bytes. Each weight has a field of 2 bits (IQ1, IQ2) or 4 bits (IQ3), the first weight the
 * lowest, which counts the book's magnitudes in rising order. */
extern const _Alignas(64) uint8_t iq1_levels[2][2048];
extern const _Alignas(64) uint8_t iq2xxs_levels[2][256];
extern const _Alignas(64) uint8_t iq2xs_levels[2][512];
extern const _Alignas(64) uint8_t iq2s_levels[2][1024];
extern const _Alignas(64) uint8_t iq3xxs_levels[2][256];
extern const _Alignas(64) uint8_t iq3s_levels[2][512];

extern const int8_t iq4_values[16];        /* IQ4_NL, IQ4_XS */
extern const int8_t mxfp4_values[16];      /* twice the E2M1 numbers, so that they are integers; no -0 */

/* IQ2_XXS, IQ2_XS and IQ3_XXS store the signs of 8 weights in 7 bits, 1 for minus: the eighth makes the number of
 * minuses even. */
static inline uint8_t even_signs(unsigned seven_bits)
{
    return (uint8_t)(seven_bits | (unsigned)__builtin_parity(seven_bits) << 7);
}

#endif
