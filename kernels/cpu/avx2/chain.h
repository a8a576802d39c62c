/* The second half of a product with one token or few, in the order of order.h: eight rows in the lanes, one chain each.
 *
 * The first half takes row after row, as memory is read fastest, and leaves p of order.h for each 32 weights. When all eight rows of
 * a part have theirs, they change from rows to lanes. */
#ifndef SUBBYTE_AVX2_CHAIN_H
#define SUBBYTE_AVX2_CHAIN_H
#include "cpu/dot_tokens.h"
#include "decode.h"
#include "vec.h"

enum {
    CHAINS = 8,         /* rows at once */
    PART = 8192,        /* weights of a row, whose sums stay in the first cache: of one token, less of more */
    AHEAD = 8192        /* bytes to fetch ahead of use; the processor's own prefetch stops at each 4 KB page */
};

/* Weights of a part for n tokens. */
FORCE_INLINE int64_t part_weights(int n_tokens) { return PART / 256 / n_tokens * 256; }

/* What the first half leaves of a part of CHAINS rows. */
struct part {
    float p[CHAINS * PART / 32];             /* [n_tokens][CHAINS][part_weights / 32] */
    float x_sums[PART / 16];                 /* [n_tokens][part_weights / group] */
    uint16_t half[PART / 256][CHAINS];       /* of blocks of 256: times factor_unit, their factors */
};

FORCE_INLINE float *sums_of(struct part *part, int n_tokens, int t, int r)
{
    return part->p + (t * CHAINS + r) * (part_weights(n_tokens) / 32);
}

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

/* Rows, `stride` floats apart, to lanes. */
FORCE_INLINE void load_transposed(const float *p, int64_t stride, vec v[CHAINS])
{
    for (int r = 0; r < CHAINS; r++)
        v[r] = v_load(p + r * stride);
    v_transpose(v);
}

FORCE_INLINE __m256 factors(enum format f, const uint16_t *half)
{
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_loadu_si128((const void *)half)), _mm256_set1_ps(factor_unit(f)));
}

/* The chains of a token over the first n weights of a part; xs: scales of its activations. */
FORCE_INLINE __m256 chain(enum format f, struct part *part, int n_tokens, int t, int64_t n, const float *xs, __m256 acc)
{
    const float *p = sums_of(part, n_tokens, t, 0);
    const int64_t stride = part_weights(n_tokens) / 32;
    vec v[CHAINS];
    int64_t i = 0;
    for (; i + 256 <= n; i += 256, xs += 8) {
        __m256 sum = format_has_factor(f) ? _mm256_setzero_ps() : acc;
        load_transposed(p + i / 32, stride, v);
        for (int g = 0; g < 8; g++)
            sum = _mm256_fmadd_ps(v[g], _mm256_broadcast_ss(xs + g), sum);
        acc = format_has_factor(f) ? _mm256_fmadd_ps(sum, factors(f, part->half[i / 256]), acc) : sum;
    }
    if (format_info[f].block == 32 && i < n) {
        load_transposed(p + i / 32, stride, v);
        for (int g = 0; g < (n - i) / 32; g++)
            acc = _mm256_fmadd_ps(v[g], _mm256_broadcast_ss(xs + g), acc);
    }
    return acc;
}

#endif
