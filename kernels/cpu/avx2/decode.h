/* What the vector kernels know of each block format, in AVX2: for format F,
 *   codes_F(block, i)                          the i-th 32 codes of a block, unsigned bytes in weight order; signed ones, without
 *                                              their bias, where is_signed(F)
 *   scales_F(blocks, n, bytes, scale, min)     the scales of the groups of n blocks, 1 or 8 of 32, or 1 of 256; mins where it has some
 *   half_F(block)                              the float of a block of 256, as bits: times factor_unit(F) what all scales are to be
 *                                              multiplied with
 * dot_template.h makes the fused dot and the unpack of a format from these. Layouts as in gguf-py's quants.py. */
#ifndef SUBBYTE_AVX2_DECODE_H
#define SUBBYTE_AVX2_DECODE_H
#include <immintrin.h>
#include <stdint.h>
#include <string.h>
#include "formats/formats.h"

#define FORCE_INLINE static inline __attribute__((always_inline))

/* Codes that vpmaddubsw could not take as unsigned bytes: of two products, one might not fit. */
FORCE_INLINE int is_signed(enum format f) { return format_info[f].bias > 64; }

/* Some code books hold eighths or quarters. */
FORCE_INLINE float factor_unit(enum format f)
{
    switch (f) {
    case FORMAT_IQ1_S: case FORMAT_IQ1_M: case FORMAT_IQ2_XXS: case FORMAT_IQ2_XS: case FORMAT_IQ2_S: return 0.125f;
    case FORMAT_IQ3_XXS: return 0.25f;
    default: return 1;
    }
}

FORCE_INLINE __m256i load32(const void *p) { return _mm256_loadu_si256(p); }
FORCE_INLINE uint64_t load_u64(const uint8_t *p) { uint64_t v; memcpy(&v, p, sizeof v); return v; }
FORCE_INLINE uint32_t load_u32(const uint8_t *p) { uint32_t v; memcpy(&v, p, sizeof v); return v; }
FORCE_INLINE uint16_t load_u16(const uint8_t *p) { uint16_t v; memcpy(&v, p, sizeof v); return v; }
FORCE_INLINE float load_f16(const uint8_t *p) { return _cvtsh_ss(load_u16(p)); }

/* Field of `mask` bits at bit `shift` of each byte. */
FORCE_INLINE __m256i field(__m256i bytes, int shift, int mask)
{
    return _mm256_and_si256(_mm256_srli_epi16(bytes, shift), _mm256_set1_epi8((char)mask));
}

/* 16 bytes: the 16 low nibbles, then the 16 high ones. */
FORCE_INLINE __m256i nibbles(const uint8_t *p)
{
    __m256i twice = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)p));
    return _mm256_and_si256(_mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 0, 4, 4)), _mm256_set1_epi8(15));
}

/* The same, as indices into a table of 16 codes. */
FORCE_INLINE __m256i nibbles_of(const uint8_t *p, __m128i table)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), nibbles(p));
}

/* Adds 16 to the codes whose bit is set (codes below 16). */
FORCE_INLINE __m256i fifth_bit(__m256i codes, uint32_t bits)
{
#ifdef __AVX512BW__
    return _mm256_mask_add_epi8(codes, bits, codes, _mm256_set1_epi8(16));
#else
    __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    __m256i bit_of = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    __m256i spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), byte_of), bit_of);
    return _mm256_or_si256(codes, _mm256_and_si256(_mm256_cmpeq_epi8(spread, bit_of), _mm256_set1_epi8(16)));
#endif
}

/* The lower 8 bytes to 8 floats. */
FORCE_INLINE __m256 floats_u8(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)); }

/* Groups of 16 have integer scales: scale_words_F, 16 bits for each of sixteen groups, of which these are the floats. */
FORCE_INLINE void store_words(__m256i words, float *out)
{
    _mm256_storeu_ps(out, _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(words))));
    _mm256_storeu_ps(out + 8, _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(words, 1))));
}
#define SCALES_OF_WORDS(name) \
    FORCE_INLINE void scales_##name(const uint8_t *b, int n, int bytes, float *scale, float *min) \
    { \
        (void)n, (void)bytes, (void)min; \
        store_words(scale_words_##name(b), scale); \
    }

/* 8 bytes times d. */
FORCE_INLINE void store_mins(float d, __m128i bytes, float *out)
{
    _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_set1_ps(d), floats_u8(bytes)));
}

/* ---- blocks of 32: f16 d, [f16 m], [u32 fifth bits], 16 bytes of nibbles ---- */

/* The f16 of n blocks, 1 or 8. */
FORCE_INLINE void load_f16s(const uint8_t *b, int n, int bytes, float *out)
{
    if (n == 1) {
        out[0] = load_f16(b);
        return;
    }
    __m128i h = _mm_setr_epi16((short)load_u16(b), (short)load_u16(b + bytes), (short)load_u16(b + 2 * bytes),
                               (short)load_u16(b + 3 * bytes), (short)load_u16(b + 4 * bytes), (short)load_u16(b + 5 * bytes),
                               (short)load_u16(b + 6 * bytes), (short)load_u16(b + 7 * bytes));
    _mm256_storeu_ps(out, _mm256_cvtph_ps(h));
}

FORCE_INLINE void scale_d(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)min;
    load_f16s(b, n, bytes, scale);
}

FORCE_INLINE void scale_d_m(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    if (n == 1) {
        scale[0] = load_f16(b);
        min[0] = -load_f16(b + 2);
        return;
    }
    __m256i v = _mm256_setr_epi32((int)load_u32(b), (int)load_u32(b + bytes), (int)load_u32(b + 2 * bytes), (int)load_u32(b + 3 * bytes),
                                  (int)load_u32(b + 4 * bytes), (int)load_u32(b + 5 * bytes), (int)load_u32(b + 6 * bytes),
                                  (int)load_u32(b + 7 * bytes));
    const __m256i first_of_pairs = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    v = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(v, first_of_pairs), 0xd8);
    _mm256_storeu_ps(scale, _mm256_cvtph_ps(_mm256_castsi256_si128(v)));
    _mm256_storeu_ps(min, _mm256_xor_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(v, 1)), _mm256_set1_ps(-0.0f)));
}

FORCE_INLINE __m256i codes_Q4_0(const uint8_t *b, int i) { (void)i; return nibbles(b + 2); }
FORCE_INLINE __m256i codes_Q4_1(const uint8_t *b, int i) { (void)i; return nibbles(b + 4); }
FORCE_INLINE __m256i codes_Q5_0(const uint8_t *b, int i) { (void)i; return fifth_bit(nibbles(b + 6), load_u32(b + 2)); }
FORCE_INLINE __m256i codes_Q5_1(const uint8_t *b, int i) { (void)i; return fifth_bit(nibbles(b + 8), load_u32(b + 4)); }
FORCE_INLINE __m256i codes_Q8_0(const uint8_t *b, int i) { (void)i; return load32(b + 2); }
#define scales_Q4_0 scale_d
#define scales_Q4_1 scale_d_m
#define scales_Q5_0 scale_d
#define scales_Q5_1 scale_d_m
#define scales_Q8_0 scale_d

/* The 16 levels of IQ4_NL and IQ4_XS. */
FORCE_INLINE __m128i levels_IQ4(void) { return _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113); }
FORCE_INLINE __m256i codes_IQ4_NL(const uint8_t *b, int i) { (void)i; return nibbles_of(b + 2, levels_IQ4()); }
#define scales_IQ4_NL scale_d

/* MXFP4: a byte e, scale 2^(e - 128); the levels are twice those of FP4 E2M1, plus 12. */
FORCE_INLINE __m128i levels_MXFP4(void) { return _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0); }
FORCE_INLINE __m256i codes_MXFP4(const uint8_t *b, int i) { (void)i; return nibbles_of(b + 1, levels_MXFP4()); }
FORCE_INLINE void scales_MXFP4(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)min;
    uint64_t exponents = 0;
    for (int i = 0; i < n; i++)
        exponents |= (uint64_t)b[i * bytes] << 8 * i;
    __m256i e = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)exponents));
    __m256i bits = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);                  /* of e = 0 and 1 */
    bits = _mm256_blendv_epi8(subnormal, bits, _mm256_cmpgt_epi32(e, _mm256_set1_epi32(1)));
    if (n == 1)
        _mm_store_ss(scale, _mm_castsi128_ps(_mm256_castsi256_si128(bits)));
    else
        _mm256_storeu_ps(scale, _mm256_castsi256_ps(bits));
}

/* Blocks of 32 have all in their scales. */
#define half_Q4_0 NULL
#define half_Q4_1 NULL
#define half_Q5_0 NULL
#define half_Q5_1 NULL
#define half_Q8_0 NULL
#define half_IQ4_NL NULL
#define half_MXFP4 NULL

/* ---- blocks of 256 ---- */

/* Eight 6-bit scales and mins in 12 bytes: bytes 0-3 and 4-7 hold scales and mins 0-3 in their low 6 bits, bytes 8-11 the
 * low nibbles of scales 4-7 and of mins 4-7, whose upper two bits are the top bits of bytes 0-7. */
FORCE_INLINE void scales_Q4_K(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes;
    __m128i v = _mm_loadu_si128((const void *)(b + 4)), first = _mm_and_si128(v, _mm_set1_epi8(0x3f));
    __m128i low = _mm_and_si128(_mm_srlv_epi32(_mm_shuffle_epi32(v, 0xaa), _mm_setr_epi32(0, 4, 0, 4)), _mm_set1_epi8(15));
    __m128i second = _mm_or_si128(low, _mm_and_si128(_mm_srli_epi16(v, 2), _mm_set1_epi8(0x30)));
    __m128i both = _mm_unpacklo_epi32(first, second);
    _mm256_storeu_ps(scale, floats_u8(both));
    store_mins(load_f16(b + 2), _mm_unpackhi_epi64(both, both), min);
}
#define scales_Q5_K scales_Q4_K
FORCE_INLINE uint16_t half_first(const uint8_t *b) { return load_u16(b); }
#define half_Q4_K half_first
#define half_Q5_K half_first

/* Q4_K: f16 d, f16 dmin, 12 bytes of scales, 4 x 32 bytes: low nibbles of 32 weights, high nibbles of the next 32. */
FORCE_INLINE __m256i codes_Q4_K(const uint8_t *b, int i) { return field(load32(b + 16 + i / 2 * 32), i % 2 * 4, 15); }

/* Q5_K: as Q4_K with 32 bytes before the nibbles, whose bit i is the fifth of the i-th 32 weights. */
FORCE_INLINE __m256i codes_Q5_K(const uint8_t *b, int i)
{
    __m256i high = load32(b + 16), at_4 = i < 4 ? _mm256_slli_epi16(high, 4 - i) : _mm256_srli_epi16(high, i - 4);
    return _mm256_or_si256(field(load32(b + 48 + i / 2 * 32), i % 2 * 4, 15), _mm256_and_si256(at_4, _mm256_set1_epi8(16)));
}

/* Q6_K, by halves of 128 weights: 2 x 64 bytes of nibbles, 2 x 32 bytes of upper bit pairs, 16 x i8 scale, f16 d. */
FORCE_INLINE __m256i codes_Q6_K(const uint8_t *b, int i)
{
    int half = i / 4, j = i % 4;
    __m256i low = field(load32(b + half * 64 + j % 2 * 32), j / 2 * 4, 15), high = load32(b + 128 + half * 32);
    __m256i at_4 = j < 2 ? _mm256_slli_epi16(high, 4 - 2 * j) : _mm256_srli_epi16(high, 2 * j - 4);
    return _mm256_or_si256(low, _mm256_and_si256(at_4, _mm256_set1_epi8(0x30)));
}
FORCE_INLINE __m256i scale_words_Q6_K(const uint8_t *b) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(b + 192))); }
SCALES_OF_WORDS(Q6_K)
FORCE_INLINE uint16_t half_Q6_K(const uint8_t *b) { return load_u16(b + 208); }

/* Q2_K: 16 bytes with a scale in the low and a min in the high nibble, 2 x 32 bytes of four bit pairs, f16 d, f16 dmin. */
FORCE_INLINE __m256i codes_Q2_K(const uint8_t *b, int i) { return field(load32(b + 16 + i / 4 * 32), i % 4 * 2, 3); }
FORCE_INLINE __m256i scale_words_Q2_K(const uint8_t *b)
{
    return _mm256_cvtepu8_epi16(_mm_and_si128(_mm_loadu_si128((const void *)b), _mm_set1_epi8(15)));
}
FORCE_INLINE void scales_Q2_K(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes;
    __m128i m = _mm_and_si128(_mm_srli_epi16(_mm_loadu_si128((const void *)b), 4), _mm_set1_epi8(15));
    const float dmin = load_f16(b + 82);
    store_words(scale_words_Q2_K(b), scale);
    store_mins(dmin, m, min);
    store_mins(dmin, _mm_unpackhi_epi64(m, m), min + 8);
}
FORCE_INLINE uint16_t half_Q2_K(const uint8_t *b) { return load_u16(b + 80); }

/* Q3_K: 32 bytes whose bit i is the third of the i-th 32 weights, 2 x 32 bytes of four bit pairs, 12 bytes of scales, f16 d. */
FORCE_INLINE __m256i codes_Q3_K(const uint8_t *b, int i)
{
    __m256i high = load32(b), at_2 = i < 2 ? _mm256_slli_epi16(high, 2 - i) : _mm256_srli_epi16(high, i - 2);
    return _mm256_or_si256(field(load32(b + 32 + i / 4 * 32), i % 4 * 2, 3), _mm256_and_si256(at_2, _mm256_set1_epi8(4)));
}
/* Sixteen scales plus 32 of 6 bits: 8 bytes hold the low nibbles of scales 0-7 and 8-15, 4 bytes the upper two bits, of four
 * scales at each shift. */
FORCE_INLINE __m256i scale_words_Q3_K(const uint8_t *b)
{
    const uint64_t nibble = 0x0f0f0f0f0f0f0f0f, pair = 0x3030303030303030;
    uint64_t low = load_u64(b + 96), high = load_u32(b + 104);
    uint64_t first = (low & nibble) | ((high << 4 | high << 34) & pair);
    uint64_t second = (low >> 4 & nibble) | ((high | high << 30) & pair);
    return _mm256_sub_epi16(_mm256_cvtepu8_epi16(_mm_set_epi64x((long long)second, (long long)first)), _mm256_set1_epi16(32));
}
SCALES_OF_WORDS(Q3_K)
FORCE_INLINE uint16_t half_Q3_K(const uint8_t *b) { return load_u16(b + 108); }

/* IQ4_XS: f16 d, u16 upper bit pairs and 4 bytes of nibbles of the eight scales plus 32, 8 x 16 bytes as in IQ4_NL. */
FORCE_INLINE __m256i codes_IQ4_XS(const uint8_t *b, int i) { return nibbles_of(b + 8 + 16 * i, levels_IQ4()); }
FORCE_INLINE void scales_IQ4_XS(const uint8_t *b, int n, int bytes, float *scale, float *min)
{
    (void)n, (void)bytes;
    (void)min;
    __m256i low = _mm256_set1_epi32((int)load_u32(b + 4)), high = _mm256_set1_epi32(load_u16(b + 2));
    low = _mm256_and_si256(_mm256_srlv_epi32(low, _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28)), _mm256_set1_epi32(15));
    high = _mm256_and_si256(_mm256_srlv_epi32(high, _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14)), _mm256_set1_epi32(3));
    __m256i s = _mm256_sub_epi32(_mm256_or_si256(low, _mm256_slli_epi32(high, 4)), _mm256_set1_epi32(32));
    _mm256_storeu_ps(scale, _mm256_cvtepi32_ps(s));
}
#define half_IQ4_XS half_first

#endif
