/* The code book formats with whole books in registers: 64 indices are looked up at once, as bytes, where avx2/pieces_iq.h
 * loads entry by entry. Needs VBMI, BITALG and GFNI.
 *
 * Weights come as vectors of 64, four to a block. Qwords hold units of 8 weights that share a byte of signs, and lie so
 * that a qword meets the same scale in several vectors, whose products can then be added as integers:
 *   groups of 32   qword q of vector v is unit 4 q + v of the block
 *   groups of 16   qword q of vector v is unit 16 (v / 2) + 2 q + v % 2
 * A decoded qword has the bytes for vectors 0, 1, 2, .. in this order, so what a vector needs lies in the qwords where its
 * weights go, and instructions that work within qwords do the rest. */
#ifndef SUBBYTE_AVX512VBMI_PIECES_H
#define SUBBYTE_AVX512VBMI_PIECES_H
#include "../avx2/pieces_iq.h"

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

PIECE __m512i plus(__m512i bytes, int n) { return _mm512_add_epi8(bytes, _mm512_set1_epi8((char)n)); }
PIECE __mmask64 has_bit(__m512i bytes, int bit) { return _mm512_test_epi8_mask(bytes, _mm512_set1_epi8((char)(1 << bit))); }
PIECE __m512i load_two(const uint8_t *low, const uint8_t *high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(load32(low)), load32(high), 1);
}

/* ---- books ---- */

/* One byte of 64 entries of a book of n; high[b] is bit 8 + b of the indices. */
PIECE __m512i look_up_plane(const uint8_t *book, int n, __m512i index, const __mmask64 *high)
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

PIECE void look_up(const uint8_t *book, int n, __m512i index, const __mmask64 *high, __m512i levels[2])
{
    __m512i low_bytes = look_up_plane(book, n, index, high), high_bytes = look_up_plane(book + n, n, index, high);
    levels[0] = _mm512_mask_shuffle_epi32(low_bytes, 0xaaaa, high_bytes, 0xa0);
    levels[1] = _mm512_mask_shuffle_epi32(high_bytes, 0x5555, low_bytes, 0xf5);
}

/* Vector v. A byte first holds the level of a weight and other bits above it, so the table of magnitudes is repeated. */
#define FIELD_OF_8(n) (I(n) / 4 * 32 + I(n) % 4 * 2)
PIECE __m512i entries_of_8(const struct decoded *d, int v, __m512i magnitudes)
{
    __m512i level = _mm512_multishift_epi64_epi8(plus(VECTOR(FIELD_OF_8), v % 4 * 8), d->levels[v / 4]);
    return _mm512_permutexvar_epi8(level, magnitudes);
}
#define FIELD_OF_4(n) (I(n) % 4 / 2 * 32 + I(n) / 4 * 8 + I(n) % 2 * 4)
PIECE __m512i entries_of_4(const struct decoded *d, int v, __m512i magnitudes)
{
    __m512i level = _mm512_multishift_epi64_epi8(plus(VECTOR(FIELD_OF_4), v % 2 * 16), d->levels[v / 2]);
    return _mm512_permutexvar_epi8(level, magnitudes);
}

PIECE __m512i weights_IQ1(const struct decoded *d, int v) { return entries_of_8(d, v, _mm512_set1_epi32(0x00100800)); }
PIECE __m512i weights_IQ2(const struct decoded *d, int v) { return entries_of_8(d, v, _mm512_set1_epi32(0x002b1908)); }
PIECE __m512i weights_IQ3_XXS(const struct decoded *d, int v)
{
    return entries_of_4(d, v, _mm512_set1_epi64(0x3e342c241c140c04));
}
PIECE __m512i weights_IQ3_S(const struct decoded *d, int v)
{
    return entries_of_4(d, v, _mm512_set1_epi64(0x0f0d0b0907050301));
}

/* ---- the side ---- */

/* Which weights of vector v are negative. */
PIECE __mmask64 minus(const struct decoded *d, int v)
{
    return _mm512_bitshuffle_epi64_mask(d->side, plus(_mm512_set1_epi64(0x0706050403020100), 8 * v));
}

/* What the weights of IQ1's vector v have too much. */
#define ODD_QWORD(n) (Q(n) % 2 * 8)
PIECE __m512i excess(const struct decoded *d, int v) { return _mm512_shuffle_epi8(d->side, plus(VECTOR(ODD_QWORD), v)); }

/* Seven sign bits from bit `first` on to eight: the last makes their sum even. Each byte of the matrix says which bits are
 * added up, the lowest byte for bit 7. */
PIECE __m512i even_signs_from(__m512i bytes, int first)
{
    return _mm512_gf2p8affine_epi64_epi8(bytes, _mm512_set1_epi64(first ? 0x02040810204080fe : 0x010204081020407f), 0);
}
PIECE __m512i four_sevens64(__m512i dwords)
{
    return even_signs_from(_mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720150e0700), dwords), 0);
}

/* ---- groups of 32 ---- */

/* Even dwords of two blocks side by side, odd ones. */
PIECE __m512i even_dwords(__m512i a, __m512i b) { return _mm512_mask_shuffle_epi32(a, 0xaaaa, b, 0xa0); }
PIECE __m512i odd_dwords(__m512i a, __m512i b) { return _mm512_mask_shuffle_epi32(b, 0x5555, a, 0xf5); }
PIECE __m512i qwords_of_dwords(const uint8_t *p) { return _mm512_cvtepu32_epi64(load32(p)); }

PIECE void decode_IQ2_XXS(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    __m512i groups = _mm512_loadu_si512(b + 2), groups_next = _mm512_loadu_si512(next + 2);
    look_up(iq2xxs_levels[0], 256, even_dwords(groups, groups_next), NULL, d->levels);
    d->side = four_sevens64(odd_dwords(groups, groups_next));
}

PIECE void decode_IQ3_XXS(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    (void)next;
    look_up(iq3xxs_levels[0], 256, _mm512_loadu_si512(b + 2), NULL, d->levels);
    d->side = four_sevens64(qwords_of_dwords(b + 66));
}

PIECE void decode_IQ3_S(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    (void)next;
    __mmask64 bit_8 = load_u64(b + 66);
    look_up(iq3s_levels[0], 512, _mm512_loadu_si512(b + 2), &bit_8, d->levels);
    d->side = qwords_of_dwords(b + 74);
}

/* Levels count -8, 0, 8 from 0 on: 8 too much, and 1 more where an eighth is taken off, 1 less where it is added. */
PIECE void look_up_IQ1(__m512i index, __m512i high, __mmask64 minus, struct decoded *d)
{
    __mmask64 bits[3] = {has_bit(high, 0), has_bit(high, 1), has_bit(high, 2)};
    look_up(iq1_levels[0], 2048, index, bits, d->levels);
    d->side = _mm512_mask_mov_epi8(_mm512_set1_epi8(7), minus, _mm512_set1_epi8(9));
}

PIECE void decode_IQ1_S(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    __m512i index = even_dwords(qwords_of_dwords(b + 2), qwords_of_dwords(next + 2));
    __m512i qh = _mm512_cvtepu16_epi64(_mm_loadu_si128((const void *)(b + 34)));
    __m512i qh_next = _mm512_cvtepu16_epi64(_mm_loadu_si128((const void *)(next + 34)));
    qh = even_dwords(qh, qh_next);
    __m512i high = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x2926232009060300), qh);
    __m512i sign = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x2f2f2f2f0f0f0f0f), qh);
    look_up_IQ1(index, high, has_bit(sign, 0), d);
}

/* ---- groups of 16 ---- */

#define UNIT(n) (I(n) % 4 / 2 * 16 + Q(n) * 2 + I(n) % 2)        /* of byte n, in its block I(n) / 4 */
#define UNIT_OF_TWO(n) (I(n) / 4 * 32 + UNIT(n))
#define LOW_BYTE(n) (2 * UNIT_OF_TWO(n))
#define HIGH_BYTE(n) (2 * UNIT_OF_TWO(n) + 1)

PIECE void decode_IQ2_XS(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    __m512i qs = _mm512_loadu_si512(b + 2), qs_next = _mm512_loadu_si512(next + 2);
    __m512i high = _mm512_permutex2var_epi8(qs, VECTOR(HIGH_BYTE), qs_next);
    __mmask64 bit_8 = has_bit(high, 0);
    look_up(iq2xs_levels[0], 512, _mm512_permutex2var_epi8(qs, VECTOR(LOW_BYTE), qs_next), &bit_8, d->levels);
    d->side = even_signs_from(high, 1);
}

/* qh has two bits an index. With one of them from each of two blocks, that of index m of block n is bit 2 m + n. */
#define BIT_OF_QH(n) (2 * UNIT(n) + I(n) / 4)
PIECE void decode_IQ2_S(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    const uint64_t even = 0x5555555555555555;
    uint64_t qh = load_u64(b + 66), qh_next = load_u64(next + 66);
    __m512i bits_8 = _mm512_set1_epi64((int64_t)((qh & even) | (qh_next & even) << 1));
    __m512i bits_9 = _mm512_set1_epi64((int64_t)((qh >> 1 & even) | (qh_next & ~even)));
    __mmask64 high[2] = {_mm512_bitshuffle_epi64_mask(bits_8, VECTOR(BIT_OF_QH)),
                         _mm512_bitshuffle_epi64_mask(bits_9, VECTOR(BIT_OF_QH))};
    look_up(iq2s_levels[0], 1024, _mm512_permutexvar_epi8(VECTOR(UNIT_OF_TWO), load_two(b + 2, next + 2)), high, d->levels);
    d->side = _mm512_permutexvar_epi8(VECTOR(UNIT_OF_TWO), load_two(b + 34, next + 34));
}

/* qh has a nibble an index: 3 bits and the sign. */
#define BYTE_OF_QH(n) (UNIT_OF_TWO(n) / 2)
#define ITS_NIBBLE(n) (8 * I(n) + 4 * (I(n) % 2))
PIECE void decode_IQ1_M(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    __m256i qh = _mm256_loadu2_m128i((const void *)(next + 32), (const void *)(b + 32));
    __m512i high = _mm512_permutexvar_epi8(VECTOR(BYTE_OF_QH), _mm512_castsi256_si512(qh));
    high = _mm512_multishift_epi64_epi8(VECTOR(ITS_NIBBLE), high);
    look_up_IQ1(_mm512_permutexvar_epi8(VECTOR(UNIT_OF_TWO), load_two(b, next)), high, has_bit(high, 3), d);
}

/* ---- order ---- */

/* Makes qword q of vector v unit 8 v + q, the order of the file. */
#define FROM_GROUPS_OF_32(n) FROM_32(I(n) % 4 * 8 + Q(n), I(n) / 4)
#define FROM_32(unit, half) ((unit) / 4 * 8 + (unit) % 4 + (half) * 4)
#define FROM_GROUPS_OF_16(n) FROM_16(I(n) % 4 * 8 + Q(n), I(n) / 4)
#define FROM_16(unit, half) ((unit) % 16 / 2 * 8 + (unit) / 16 * 2 + (unit) % 2 + (half) * 4)
#define FROM_PAIRS(n) FROM_PAIR(I(n) % 4 / 2 * 8 + Q(n), I(n) / 4, I(n) % 2)
#define FROM_PAIR(unit, half, of_pair) ((unit) % 4 / 2 * 64 + (unit) / 4 * 8 + (half) * 4 + (unit) % 2 * 2 + (of_pair))
PIECE void to_file_order(struct decoded *d, int group, int weights_an_entry)
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
PIECE void from_file_order(const int8_t *x, int group, int8_t *out)
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
