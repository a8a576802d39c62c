/* Whole code books in registers: 64 indices are looked up at once, as bytes, where avx2/decode_iq.h loads entry by entry.
 *
 * Weights come as vectors of 64, four to a block. Qwords hold units of 8 weights that share a byte of signs, and lie so
 * that a qword meets the same scale in several vectors, whose products can then be added as integers:
 *   groups of 32   qword q of vector v is unit 4 q + v of the block
 *   groups of 16   qword q of vector v is unit 16 (v / 2) + 2 q + v % 2
 * A decoded qword has the bytes for vectors 0, 1, 2, .. in this order, so what a vector needs lies in the qwords where its
 * weights go, and instructions that work within qwords do the rest. */
#ifndef SUBBYTE_AVX512VBMI_CODEBOOK_REGS_H
#define SUBBYTE_AVX512VBMI_CODEBOOK_REGS_H
#include "cpu/avx2/decode_iq.h"

/* Two blocks of a format with entries of 8 weights, or one with entries of 4: 64 indices. */
struct decoded {
    /* Of the first half of the vectors, and of the second. Qwords hold 4 low bytes of entries, then their 4 high bytes. */
    __m512i levels[2];
    /* Byte v of qword q is for qword q of vector v: its signs, or for IQ1 what its 8 weights have too much. */
    __m512i side;
};

/* A vector of bytes f(0) .. f(63), often telling where byte n comes from: byte I of qword Q. */
#define EIGHT(f, n) f(n), f((n) + 1), f((n) + 2), f((n) + 3), f((n) + 4), f((n) + 5), f((n) + 6), f((n) + 7)
#define VECTOR(f) \
    ((__m512i)(__v64qi){EIGHT(f, 0), EIGHT(f, 8), EIGHT(f, 16), EIGHT(f, 24), EIGHT(f, 32), EIGHT(f, 40), EIGHT(f, 48), \
                        EIGHT(f, 56)})
#define Q(n) ((n) / 8)
#define I(n) ((n) % 8)

FORCE_INLINE __m512i plus(__m512i bytes, int n) { return _mm512_add_epi8(bytes, _mm512_set1_epi8((char)n)); }
FORCE_INLINE __mmask64 has_bit(__m512i bytes, int bit) { return _mm512_test_epi8_mask(bytes, _mm512_set1_epi8((char)(1 << bit))); }
/* The even dwords of a and b in pairs, the odd ones. */
FORCE_INLINE __m512i even_dwords(__m512i a, __m512i b) { return _mm512_mask_shuffle_epi32(a, 0xaaaa, b, 0xa0); }
FORCE_INLINE __m512i odd_dwords(__m512i a, __m512i b) { return _mm512_mask_shuffle_epi32(b, 0x5555, a, 0xf5); }
FORCE_INLINE __m512i load_two(const uint8_t *low, const uint8_t *high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(load32(low)), load32(high), 1);
}

/* ---- books ---- */

/* One byte of 64 entries of a book of n; high[b] is bit 8 + b of the indices. */
FORCE_INLINE __m512i look_up_plane(const uint8_t *book, int n, __m512i index, const __mmask64 *high)
{
    __m512i part[8];
    __mmask64 bit_7 = _mm512_movepi8_mask(index);
    #pragma GCC unroll 8
    for (int i = 0; i < n / 256; i++) {
        const __m512i *p = (const void *)(book + 256 * i);
        part[i] = _mm512_mask_mov_epi8(_mm512_permutex2var_epi8(p[0], index, p[1]), bit_7,
                                       _mm512_permutex2var_epi8(p[2], index, p[3]));
    }
    #pragma GCC unroll 3
    for (int b = 0; n >> 9 >> b > 0; b++)
        #pragma GCC unroll 4
        for (int i = 0; i < n >> 9 >> b; i++)
            part[i] = _mm512_mask_mov_epi8(part[2 * i], high[b], part[2 * i + 1]);
    return part[0];
}

FORCE_INLINE void look_up(const uint8_t *book, int n, __m512i index, const __mmask64 *high, __m512i levels[2])
{
    __m512i low_bytes = look_up_plane(book, n, index, high), high_bytes = look_up_plane(book + n, n, index, high);
    levels[0] = even_dwords(low_bytes, high_bytes);
    levels[1] = odd_dwords(low_bytes, high_bytes);
}

/* Vector v. A byte first holds the level of a weight and other bits above it, so the table of magnitudes is repeated. */
#define FIELD_OF_8(n) (I(n) / 4 * 32 + I(n) % 4 * 2)
FORCE_INLINE __m512i entries_of_8(const struct decoded *d, int v, __m512i magnitudes)
{
    __m512i level = _mm512_multishift_epi64_epi8(plus(VECTOR(FIELD_OF_8), v % 4 * 8), d->levels[v / 4]);
    return _mm512_permutexvar_epi8(level, magnitudes);
}
#define FIELD_OF_4(n) (I(n) % 4 / 2 * 32 + I(n) / 4 * 8 + I(n) % 2 * 4)
FORCE_INLINE __m512i entries_of_4(const struct decoded *d, int v, __m512i magnitudes)
{
    __m512i level = _mm512_multishift_epi64_epi8(plus(VECTOR(FIELD_OF_4), v % 2 * 16), d->levels[v / 2]);
    return _mm512_permutexvar_epi8(level, magnitudes);
}

FORCE_INLINE __m512i weights_IQ1(const struct decoded *d, int v) { return entries_of_8(d, v, _mm512_set1_epi32(0x00100800)); }
FORCE_INLINE __m512i weights_IQ2(const struct decoded *d, int v) { return entries_of_8(d, v, _mm512_set1_epi32(0x002b1908)); }
FORCE_INLINE __m512i weights_IQ3_XXS(const struct decoded *d, int v)
{
    return entries_of_4(d, v, _mm512_set1_epi64(0x3e342c241c140c04));
}
FORCE_INLINE __m512i weights_IQ3_S(const struct decoded *d, int v)
{
    return entries_of_4(d, v, _mm512_set1_epi64(0x0f0d0b0907050301));
}

/* ---- the side ---- */

/* Which weights of vector v are negative. */
FORCE_INLINE __mmask64 minus(const struct decoded *d, int v)
{
    return _mm512_bitshuffle_epi64_mask(d->side, plus(_mm512_set1_epi64(0x0706050403020100), 8 * v));
}

/* What the weights of IQ1's vector v have too much. */
#define ODD_QWORD(n) (Q(n) % 2 * 8)
FORCE_INLINE __m512i excess(const struct decoded *d, int v) { return _mm512_shuffle_epi8(d->side, plus(VECTOR(ODD_QWORD), v)); }

/* ---- order ---- */

/* Makes qword q of vector v unit 8 v + q, the order of the file. */
#define FROM_GROUPS_OF_32(n) FROM_32(I(n) % 4 * 8 + Q(n), I(n) / 4)
#define FROM_32(unit, half) ((unit) / 4 * 8 + (unit) % 4 + (half) * 4)
#define FROM_GROUPS_OF_16(n) FROM_16(I(n) % 4 * 8 + Q(n), I(n) / 4)
#define FROM_16(unit, half) ((unit) % 16 / 2 * 8 + (unit) / 16 * 2 + (unit) % 2 + (half) * 4)
#define FROM_PAIRS(n) FROM_PAIR(I(n) % 4 / 2 * 8 + Q(n), I(n) / 4, I(n) % 2)
#define FROM_PAIR(unit, half, of_pair) ((unit) % 4 / 2 * 64 + (unit) / 4 * 8 + (half) * 4 + (unit) % 2 * 2 + (of_pair))
FORCE_INLINE void to_file_order(struct decoded *d, int group, int weights_an_entry)
{
    __m512i from = group == 32 ? VECTOR(FROM_GROUPS_OF_32) : VECTOR(FROM_GROUPS_OF_16);
    __m512i levels[2] = {d->levels[0], d->levels[1]};
    for (int i = 0; i < 2; i++)
        d->levels[i] = weights_an_entry == 8 ? _mm512_permutexvar_epi8(from, levels[i])
                                             : _mm512_permutex2var_epi8(levels[0], plus(VECTOR(FROM_PAIRS), 32 * i), levels[1]);
    d->side = _mm512_permutexvar_epi8(from, d->side);
}

/* Activations of a block from the file's order to that of the vectors: with groups of 16 a vector takes every second unit
 * of two vectors of the file, with groups of 32 every fourth of all four. */
FORCE_INLINE void from_file_order(const int8_t *x, int group, int8_t *out)
{
    __m512i file[4], qwords = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    for (int i = 0; i < 4; i++)
        file[i] = _mm512_loadu_si512(x + 64 * i);
    #pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        __m512i vector;
        if (group == 16) {
            __m512i from = _mm512_add_epi64(_mm512_slli_epi64(qwords, 1), _mm512_set1_epi64(v % 2));
            vector = _mm512_permutex2var_epi64(file[v / 2 * 2], from, file[v / 2 * 2 + 1]);
        } else {
            __m512i from = _mm512_add_epi64(_mm512_slli_epi64(qwords, 2), _mm512_set1_epi64(v));
            __m512i high = _mm512_permutex2var_epi64(file[2], from, file[3]);
            vector = _mm512_inserti64x4(_mm512_permutex2var_epi64(file[0], from, file[1]), _mm512_castsi512_si256(high), 1);
        }
        _mm512_store_si512(out + 64 * v, vector);
    }
}

#endif
