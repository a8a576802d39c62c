/* The second half of a product with one token or few, in the order of order.h: eight rows in the lanes, one chain each.
 *
 * The first half takes row after row, as memory is read fastest, and leaves p of order.h for each 32 weights. Where these are as
 * many as a part of eight rows has, they change from rows to lanes. */
#ifndef SUBBYTE_AVX2_CHAIN_H
#define SUBBYTE_AVX2_CHAIN_H
#include "cpu/dot_tokens.h"
#include "decode.h"
#include "transpose.h"

enum {
    CHAINS = 8,         /* rows at once */
    PART = 2048,        /* weights of a row, whose sums stay in the first cache */
    AHEAD = 8192,       /* bytes to fetch ahead of use; the processor's own prefetch stops at each 4 KB page */
#ifdef __AVX512VL__     /* tokens that meet a block while it is unpacked */
    MOST_TOKENS = 4
#else
    MOST_TOKENS = 8
#endif
};

/* What the first half leaves of a part of CHAINS rows. */
struct part {
    float p[MOST_TOKENS][CHAINS][PART / 32];
    uint16_t half[PART / 256][CHAINS];       /* of blocks of 256: times factor_unit, their factors */
};

FORCE_INLINE void fetch(const uint8_t *p, int n)
{
    for (int i = 0; i < n; i += 64)
        _mm_prefetch((const char *)(p + i), _MM_HINT_T0);
}

/* Some AHEAD bytes later than in row r of those from row0 on, at `at` in the row, rows are read there. */
FORCE_INLINE const uint8_t *later(const uint8_t *rows, int64_t row_bytes, int row0, int64_t r, int64_t at, int64_t part_bytes)
{
    for (r += AHEAD / part_bytes + 1; r >= CHAINS; r -= CHAINS)
        if ((at += part_bytes) >= row_bytes)
            at = 0, row0 += CHAINS;
    return rows + (row0 + r) * row_bytes + at;
}

FORCE_INLINE struct q8_row at(struct q8_row x, int64_t i)
{
    return (struct q8_row){x.q + i, x.scale + i / 32, x.sum + i / 16};
}

/* Of n rows of k activations, the part from i on. */
FORCE_INLINE void all_at(const struct q8_row *x, int n, int64_t i, struct q8_row *part)
{
    for (int t = 0; t < n; t++)
        part[t] = at(x[t], i);
}

FORCE_INLINE float sum_lanes(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* Eight groups of each row: p, [CHAINS][PART / 32], from those of one group in the lanes of each row to the reverse. */
FORCE_INLINE void transpose_sums(const float *p, __m256 v[CHAINS])
{
    __m256i square[8];
    for (int r = 0; r < 8; r++)
        square[r] = _mm256_castps_si256(_mm256_loadu_ps(p + r * (PART / 32)));
    transpose_8x8(square);
    for (int g = 0; g < 8; g++)
        v[g] = _mm256_castsi256_ps(square[g]);
}

FORCE_INLINE __m256 factors(enum format f, const uint16_t *half)
{
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_loadu_si128((const void *)half)), _mm256_set1_ps(factor_unit(f)));
}

/* The chains of all rows, over the first n weights of a part; xs: scales of their activations. */
FORCE_INLINE __m256 chain(enum format f, const struct part *part, int t, int64_t n, const float *xs, __m256 acc)
{
    for (int64_t b = 0; b < n / 256; b++, xs += 8) {
        __m256 v[CHAINS], sum = format_has_factor(f) ? _mm256_setzero_ps() : acc;
        transpose_sums(part->p[t][0] + 8 * b, v);
        for (int g = 0; g < 8; g++)
            sum = _mm256_fmadd_ps(v[g], _mm256_broadcast_ss(xs + g), sum);
        acc = format_has_factor(f) ? _mm256_fmadd_ps(sum, factors(f, part->half[b]), acc) : sum;
    }
    if (n % 256) {
        __m256 v[CHAINS];
        transpose_sums(part->p[t][0] + n / 256 * 8, v);
        for (int g = 0; g < n % 256 / 32; g++)
            acc = _mm256_fmadd_ps(v[g], _mm256_broadcast_ss(xs + g), acc);
    }
    return acc;
}

FORCE_INLINE __m256i first_lanes(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

#endif
