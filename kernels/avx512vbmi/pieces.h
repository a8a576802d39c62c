/* The code book formats with whole books in registers: 64 indices are looked up at once, as bytes, where avx2/pieces_iq.h loads entry
 * by entry.
 *
 * An entry is two bytes of levels (codebooks.h). Entries of 8 weights come 64 at a time from two blocks: vector i of 64 weights takes
 * indices 8 i .. 8 i + 7. They are transposed before they are looked up, index 8 i + q to byte i of qword q, so that what vector i
 * needs lies in the qwords where its weights go; instructions that work within qwords do the rest. Entries of 4 weights come 64 at a
 * time from one block, in pairs: indices 16 i + 2 q and the next go to bytes 2 i and 2 i + 1 of qword q. */
#ifndef SUBBYTE_AVX512VBMI_PIECES_H
#define SUBBYTE_AVX512VBMI_PIECES_H
#include "../avx2/pieces_iq.h"

struct decoded {
    __m512i levels[2];   /* the first half of the vectors, the second; qwords hold 4 low bytes of entries, then their 4 high bytes */
    __m512i side;        /* byte i of qword q is for 8 weights, qword q of vector i: their signs; for IQ1 what to subtract */
};

/* 64 bytes f(0) .. f(63): where byte n comes from. */
#define EIGHT(f, n) f(n), f((n) + 1), f((n) + 2), f((n) + 3), f((n) + 4), f((n) + 5), f((n) + 6), f((n) + 7)
#define VECTOR(f) \
    ((__m512i)(__v64qi){EIGHT(f, 0), EIGHT(f, 8), EIGHT(f, 16), EIGHT(f, 24), EIGHT(f, 32), EIGHT(f, 40), EIGHT(f, 48), EIGHT(f, 56)})
#define Q(n) ((n) / 8)
#define I(n) ((n) % 8)
#define TRANSPOSED(n) (8 * I(n) + Q(n))

PIECE __m512i load_join(const uint8_t *low, const uint8_t *high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(load32(low)), load32(high), 1);
}
PIECE __m512i transposed(__m512i bytes) { return _mm512_permutexvar_epi8(VECTOR(TRANSPOSED), bytes); }
PIECE __mmask64 has_bit(__m512i bytes, int bit) { return _mm512_test_epi8_mask(bytes, _mm512_set1_epi8((char)(1 << bit))); }

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

/* Vector i from its levels: a byte holds the level of a weight, and other bits above it, which a table of 64 bytes is repeated for. */
#define FIELD_OF_8(n) (I(n) / 4 * 32 + I(n) % 4 * 2)
PIECE __m512i entries_of_8(const struct decoded *d, int i, __m512i magnitudes)
{
    __m512i field = _mm512_add_epi8(VECTOR(FIELD_OF_8), _mm512_set1_epi8((char)(i % 4 * 8)));
    return _mm512_permutexvar_epi8(_mm512_multishift_epi64_epi8(field, d->levels[i / 4]), magnitudes);
}
#define FIELD_OF_4(n) (I(n) % 4 / 2 * 32 + I(n) / 4 * 8 + I(n) % 2 * 4)
PIECE __m512i entries_of_4(const struct decoded *d, int i, __m512i magnitudes)
{
    __m512i field = _mm512_add_epi8(VECTOR(FIELD_OF_4), _mm512_set1_epi8((char)(i % 2 * 16)));
    return _mm512_permutexvar_epi8(_mm512_multishift_epi64_epi8(field, d->levels[i / 2]), magnitudes);
}

PIECE __m512i magnitudes_IQ1(const struct decoded *d, int i) { return entries_of_8(d, i, _mm512_set1_epi32(0x00100800)); }
PIECE __m512i magnitudes_IQ2(const struct decoded *d, int i) { return entries_of_8(d, i, _mm512_set1_epi32(0x002b1908)); }
PIECE __m512i magnitudes_IQ3_XXS(const struct decoded *d, int i)
{
    return entries_of_4(d, i, _mm512_set1_epi64(0x3e342c241c140c04));
}
PIECE __m512i magnitudes_IQ3_S(const struct decoded *d, int i)
{
    return entries_of_4(d, i, _mm512_set1_epi64(0x0f0d0b0907050301));
}

/* Which weights of vector i are negative. */
PIECE __mmask64 minus(const struct decoded *d, int i)
{
    return _mm512_bitshuffle_epi64_mask(d->side, _mm512_add_epi8(_mm512_set1_epi64(0x0706050403020100), _mm512_set1_epi8((char)(8 * i))));
}

/* What IQ1's vector i has too much: a byte for 8 weights, spread to them. */
PIECE __m512i subtracted(const struct decoded *d, int i)
{
    __m512i byte = _mm512_set1_epi8((char)i), qword = _mm512_setr_epi64(0, 0x0808080808080808, 0, 0x0808080808080808, 0,
                                                                       0x0808080808080808, 0, 0x0808080808080808);
    return _mm512_shuffle_epi8(d->side, _mm512_add_epi8(byte, qword));
}

/* Seven sign bits to eight: the last one makes their sum even. A row of the matrix says which bits are added up; the row of bit 7
 * stands last. The bits above the seven do not matter. */
PIECE __m512i even_signs_of(__m512i bytes, int first)
{
    return _mm512_gf2p8affine_epi64_epi8(bytes, _mm512_set1_epi64(first ? 0x02040810204080fe : 0x010204081020407f), 0);
}

/* Sixteen times 28 sign bits. */
PIECE __m512i four_fields_of_7(__m512i words)
{
    return even_signs_of(_mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720150e0700), words), 0);
}

#define INDEX_IQ2_XXS(n) (I(n) / 4 * 64 + (I(n) % 4 * 2 + Q(n) / 4) * 8 + Q(n) % 4)
PIECE void decode_IQ2_XXS(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    __m512i raw = _mm512_loadu_si512(b + 2), raw_next = _mm512_loadu_si512(next + 2);
    __m512i index = _mm512_permutex2var_epi8(raw, VECTOR(INDEX_IQ2_XXS), raw_next);
    look_up(iq2xxs_levels[0], 256, index, NULL, d->levels);
    __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    d->side = transposed(four_fields_of_7(_mm512_permutex2var_epi32(raw, odd, raw_next)));
}

#define LOW_IQ2_XS(n) (2 * TRANSPOSED(n))
#define HIGH_IQ2_XS(n) (2 * TRANSPOSED(n) + 1)
PIECE void decode_IQ2_XS(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    __m512i raw = _mm512_loadu_si512(b + 2), raw_next = _mm512_loadu_si512(next + 2);
    __m512i high = _mm512_permutex2var_epi8(raw, VECTOR(HIGH_IQ2_XS), raw_next);
    __mmask64 bit_8 = has_bit(high, 0);
    look_up(iq2xs_levels[0], 512, _mm512_permutex2var_epi8(raw, VECTOR(LOW_IQ2_XS), raw_next), &bit_8, d->levels);
    d->side = even_signs_of(high, 1);
}

/* qh has two bits an index. With one of them from each of two blocks, bits of index m of block n are 2 m + n. */
#define BIT_IQ2_S(n) (2 * (TRANSPOSED(n) % 32) + TRANSPOSED(n) / 32)
PIECE void decode_IQ2_S(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    const uint64_t even = 0x5555555555555555;
    uint64_t qh = load_u64(b + 66), qh_next = load_u64(next + 66);
    uint64_t bit_8 = (qh & even) | (qh_next & even) << 1, bit_9 = (qh >> 1 & even) | (qh_next & ~even);
    __mmask64 high[2] = {_mm512_bitshuffle_epi64_mask(_mm512_set1_epi64((int64_t)bit_8), VECTOR(BIT_IQ2_S)),
                         _mm512_bitshuffle_epi64_mask(_mm512_set1_epi64((int64_t)bit_9), VECTOR(BIT_IQ2_S))};
    look_up(iq2s_levels[0], 1024, transposed(load_join(b + 2, next + 2)), high, d->levels);
    d->side = transposed(load_join(b + 34, next + 34));
}

/* Pairs of indices, as words: words 8 i + q to word i of qword q. */
#define PAIRED(n) (I(n) / 2 * 16 + Q(n) * 2 + I(n) % 2)
PIECE void decode_IQ3_XXS(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    (void)next;
    look_up(iq3xxs_levels[0], 256, _mm512_permutexvar_epi8(VECTOR(PAIRED), _mm512_loadu_si512(b + 2)), NULL, d->levels);
    d->side = transposed(four_fields_of_7(_mm512_zextsi256_si512(load32(b + 66))));
}
PIECE void decode_IQ3_S(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    (void)next;
    __mmask64 bit_8 = _mm512_bitshuffle_epi64_mask(_mm512_set1_epi64((int64_t)load_u64(b + 66)), VECTOR(PAIRED));
    look_up(iq3s_levels[0], 512, _mm512_permutexvar_epi8(VECTOR(PAIRED), _mm512_loadu_si512(b + 2)), &bit_8, d->levels);
    d->side = transposed(_mm512_zextsi256_si512(load32(b + 74)));
}

/* IQ1: levels count -8, 0, 8 from 0 on, so 8 and what minus adds, 1, or plus takes off. */
PIECE void look_up_IQ1(__m512i index, __m512i high, __mmask64 minus, struct decoded *d)
{
    __mmask64 bits[3] = {has_bit(high, 0), has_bit(high, 1), has_bit(high, 2)};
    look_up(iq1_levels[0], 2048, index, bits, d->levels);
    d->side = _mm512_mask_mov_epi8(_mm512_set1_epi8(7), minus, _mm512_set1_epi8(9));
}

/* qh has a word for 4 indices: fields of 3 bits, and the sign at bit 15. */
#define FIELD_IQ1_S(n) (I(n) % 4 * 16 + Q(n) % 4 * 3)
#define SIGN_IQ1_S(n) (I(n) % 4 * 16 + 15)
PIECE void decode_IQ1_S(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    const __mmask64 of_next = 0xf0f0f0f0f0f0f0f0;
    __m512i even_odd = _mm512_setr_epi64(0, 0, 0, 0, 1, 1, 1, 1);
    __m128i deal = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    __m128i words = _mm_shuffle_epi8(_mm_loadu_si128((const void *)(b + 34)), deal);
    __m128i words_next = _mm_shuffle_epi8(_mm_loadu_si128((const void *)(next + 34)), deal);
    __m512i a = _mm512_permutexvar_epi64(even_odd, _mm512_castsi128_si512(words));
    __m512i c = _mm512_permutexvar_epi64(even_odd, _mm512_castsi128_si512(words_next));
    __m512i high = _mm512_multishift_epi64_epi8(VECTOR(FIELD_IQ1_S), a), sign = _mm512_multishift_epi64_epi8(VECTOR(SIGN_IQ1_S), a);
    high = _mm512_mask_multishift_epi64_epi8(high, of_next, VECTOR(FIELD_IQ1_S), c);
    sign = _mm512_mask_multishift_epi64_epi8(sign, of_next, VECTOR(SIGN_IQ1_S), c);
    look_up_IQ1(transposed(load_join(b + 2, next + 2)), high, has_bit(sign, 0), d);
}

/* qh has a nibble an index: 3 bits and the sign. */
#define NIBBLE_IQ1_M(n) (TRANSPOSED(n) / 2)
PIECE void decode_IQ1_M(const uint8_t *b, const uint8_t *next, struct decoded *d)
{
    __m256i qh = _mm256_loadu2_m128i((const void *)(next + 32), (const void *)(b + 32));
    __m512i high = _mm512_permutexvar_epi8(VECTOR(NIBBLE_IQ1_M), _mm512_castsi256_si512(qh));
    high = _mm512_srlv_epi64(high, _mm512_setr_epi64(0, 4, 0, 4, 0, 4, 0, 4));
    look_up_IQ1(transposed(load_join(b, next)), high, has_bit(high, 3), d);
}

#endif
