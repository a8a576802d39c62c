/* AVX-512 with VBMI, BITALG and GFNI: fused dot and unpack of the code book formats. */
#include "cpu/avx512/dot_template.h"
#include "decode.h"

enum { ORDERED = 8192 };   /* as many activations of a token are brought in order at a time: they stay in the near caches */

typedef void decode_fn(const uint8_t *b, const uint8_t *next, struct decoded *d);
typedef __m512i weights_fn(const struct decoded *d, int v);

FORCE_INLINE int is_IQ1(enum format f) { return f == FORMAT_IQ1_S || f == FORMAT_IQ1_M; }
FORCE_INLINE int blocks_at_once(enum format f) { return f == FORMAT_IQ3_XXS || f == FORMAT_IQ3_S ? 1 : 2; }

/* Sums over 4 neighbours of vectors v .. v + n - 1 times q. Signs go to q, since weights have to be unsigned. */
FORCE_INLINE __m512i product(enum format f, weights_fn weights, const struct decoded *d, int v, int n, const int8_t *q)
{
    __m512i zero = _mm512_setzero_si512(), sum = zero, too_much = zero;
    #pragma GCC unroll 4
    for (int i = 0; i < n; i++) {
        __m512i x = _mm512_load_si512(q + 64 * i);
        if (is_IQ1(f))
            too_much = _mm512_dpbusd_epi32(too_much, excess(d, v + i), x);
        else
            x = _mm512_mask_sub_epi8(x, minus(d, v + i), zero, x);
        sum = _mm512_dpbusd_epi32(sum, weights(d, v + i), x);
    }
    return is_IQ1(f) ? _mm512_sub_epi32(sum, too_much) : sum;
}

/* Pairs of lanes added. */
FORCE_INLINE __m256i add_pairs_64(__m512i v)
{
    return _mm512_cvtepi64_epi32(_mm512_add_epi32(v, _mm512_shuffle_epi32(v, 0xb1)));
}

/* p of order.h of a decoded block, from vector v on. Two lanes are of one group. */
FORCE_INLINE __m256 block_sums(enum format f, weights_fn weights, const struct decoded *d, int v, const float *scale, const int8_t *q)
{
    if (format_info[f].group == 32)
        return _mm256_mul_ps(_mm256_cvtepi32_ps(add_pairs_64(product(f, weights, d, v, 4, q))), _mm256_loadu_ps(scale));
    __m256 p[2];
    #pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        __m256i sum = add_pairs_64(product(f, weights, d, v + 2 * half, 2, q + 128 * half));
        p[half] = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scale + 8 * half));
    }
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_hadd_ps(p[0], p[1])), 0xd8));
}

/* Row r of a part: n_blocks from p on, `ahead` is read later; q of each token in the order of vectors. The last block may be decoded
 * alone: it then stands for two. */
FORCE_INLINE void sum_blocks(enum format f, decode_fn decode, weights_fn weights, scales_fn scales, half_fn half, const uint8_t *p,
                             const uint8_t *ahead, int64_t n_blocks, int8_t (*q)[ORDERED], int n_tokens, int r, struct part *part)
{
    const int at_once = blocks_at_once(f), bytes = format_info[f].bytes;
    for (int64_t i = 0; i < n_blocks; i += at_once, p += at_once * bytes, ahead += at_once * bytes) {
        struct decoded d;
        int n = n_blocks - i < at_once ? 1 : at_once;
        fetch(ahead, at_once * bytes);
        decode(p, p + (n - 1) * bytes, &d);
        #pragma GCC unroll 2
        for (int j = 0; j < at_once; j++) {
            float scale[16];
            if (j == n)
                break;
            scales(p + j * bytes, 1, bytes, scale, NULL);
            part->half[i + j][r] = half(p + j * bytes);
            #pragma GCC unroll 4
            for (int t = 0; t < n_tokens; t++)
                v_store(sums_of(part, n_tokens, t, r) + 8 * (i + j), block_sums(f, weights, &d, 4 * j, scale, q[t] + 256 * (i + j)));
        }
    }
}

/* n_tokens is a constant, at most MOST_TOKENS. The chains of rows wait in `out` for the next activations in order. */
FORCE_INLINE void dot_rows_ordered(enum format f, decode_fn decode, weights_fn weights, scales_fn scales, half_fn half,
                                   const uint8_t *rows, int n_rows, int64_t k, const struct q8_row *x, int n_tokens, float *out,
                                   int64_t out_stride)
{
    _Alignas(64) int8_t q[MOST_TOKENS][ORDERED];
    const int64_t row = row_bytes(f, k);
    struct part part;
    for (int64_t first = 0; first < k; first += ORDERED) {
        const int64_t n = k - first < ORDERED ? k - first : ORDERED;
        for (int t = 0; t < n_tokens; t++)
            for (int64_t i = 0; i < n; i += 256)
                from_file_order(x[t].q + first + i, format_info[f].group, q[t] + i);
        for (int row0 = 0; row0 < n_rows; row0 += CHAINS) {
            const int n_lanes = n_rows - row0 < CHAINS ? n_rows - row0 : CHAINS;
            if (n_lanes < CHAINS)
                memset(&part, 0, sizeof part);             /* what rows lack, lanes have: zeros */
            __m256 acc[MOST_TOKENS];
            for (int t = 0; t < n_tokens; t++)
                acc[t] = first == 0 ? _mm256_setzero_ps() : v_load_n(out + t * out_stride + row0, n_lanes);
            for (int64_t i = 0; i < n; i += part_weights(n_tokens)) {
                const int64_t length = n - i < part_weights(n_tokens) ? n - i : part_weights(n_tokens);
                const int64_t start = row_bytes(f, first + i);
                for (int r = 0; r < n_lanes; r++)
                    sum_blocks(f, decode, weights, scales, half, rows + (row0 + r) * row + start,
                               later(rows, row, row0, r, start, row_bytes(f, length)), length / 256,
                               (int8_t (*)[ORDERED])(q[0] + i), n_tokens, r, &part);
                for (int t = 0; t < n_tokens; t++)
                    acc[t] = chain(f, &part, n_tokens, t, length, x[t].scale + (first + i) / 32, acc[t]);
            }
            for (int t = 0; t < n_tokens; t++)
                v_store_n(out + t * out_stride + row0, n_lanes, acc[t]);
        }
    }
}

FORCE_INLINE __m512i codes64(enum format f, weights_fn weights, const struct decoded *d, int v)
{
    __m512i bias = _mm512_set1_epi8((char)format_info[f].bias), w = weights(d, v);
    if (is_IQ1(f))
        return _mm512_add_epi8(w, _mm512_sub_epi8(bias, excess(d, v)));
    return _mm512_mask_sub_epi8(_mm512_add_epi8(bias, w), minus(d, v), bias, w);
}

FORCE_INLINE void unpack_by_book(enum format f, decode_fn decode, weights_fn weights, scales_fn scales, half_fn half, const uint8_t *p,
                          int64_t k, uint8_t *code, float *scale, float *factors)
{
    const int at_once = blocks_at_once(f), bytes = format_info[f].bytes, group = format_info[f].group;
    for (int64_t i = 0; i < k / 256; i += at_once, p += at_once * bytes) {
        struct decoded d;
        int n = k / 256 - i < at_once ? 1 : at_once;
        decode(p, p + (n - 1) * bytes, &d);
        to_file_order(&d, group, at_once == 1 ? 4 : 8);
        for (int j = 0; j < n; j++) {
            scales(p + j * bytes, 1, bytes, scale + (i + j) * (256 / group), NULL);
            factors[i + j] = _cvtsh_ss(half(p + j * bytes)) * factor_unit(f);
        }
        #pragma GCC unroll 8
        for (int v = 0; v < 4 * at_once; v++)
            if (v < 4 * n)
                _mm512_storeu_si512(code + i * 256 + 64 * v, codes64(f, weights, &d, v));
    }
}

#define DOT_ORDERED(name, n) \
    dot_rows_ordered(FORMAT_##name, decode_##name, WEIGHTS_##name, scales_##name, half_##name, rows, n_rows, k, tokens, n, out, \
                     out_stride)
#define DEFINE(name) \
    DEFINE_DOT_OF(name, DOT_ORDERED) \
    static void unpack_##name(const uint8_t *row, int64_t k, uint8_t *code, float *scale, float *factors, float *min) \
    { \
        (void)min; \
        unpack_by_book(FORMAT_##name, decode_##name, WEIGHTS_##name, scales_##name, half_##name, row, k, code, scale, factors); \
    }

#define WEIGHTS_IQ1_S weights_IQ1
#define WEIGHTS_IQ1_M weights_IQ1
#define WEIGHTS_IQ2_XXS weights_IQ2
#define WEIGHTS_IQ2_XS weights_IQ2
#define WEIGHTS_IQ2_S weights_IQ2
#define WEIGHTS_IQ3_XXS weights_IQ3_XXS
#define WEIGHTS_IQ3_S weights_IQ3_S

FORMATS_WITH_BOOKS(DEFINE)

void fill_avx512vbmi(struct kernels *table)
{
    FORMATS_WITH_BOOKS(SET_DOT)
    FORMATS_WITH_BOOKS(SET_UNPACK)
}
