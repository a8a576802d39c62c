/* The loops of gemm.c: some rows times one or two tiles of tokens.
 *
 * What bounds it on Zen 3: vector operations. Four pipes do them, two of these the multiplications, and integer additions take those
 * as well. For 32 weights of a row and 8 tokens there are, beside 4 broadcasts and 2 loads:
 *   codes to 16    8 vpmaddubsw, 7 vpaddw (8 with a bias), vpmaddwd, conversion, vmulps unless there is a factor, fma: 18 to 20
 *   codes to 32    in halves: a vpmaddwd and a vpaddd more, as for groups of 16: 19 to 21
 *   codes to 64    in quarters: 25
 *   bytes          8 vpxor, 8 vpmaddubsw, 8 vpmaddwd, 8 vpaddd and the same floats: 35; 16 of them for two pipes
 *   mins           a fma more
 * gcc 12 makes 28 to 31, 31 to 37, 38 and 47 to 49 instructions of them, results and sums that find no register in memory included. */
#ifndef SUBBYTE_AVX2_GEMM_LOOPS_H
#define SUBBYTE_AVX2_GEMM_LOOPS_H
#include <immintrin.h>
#include <stdint.h>

#define FORCE_INLINE static inline __attribute__((always_inline))

enum {
    LANES = 8,
    ROWS = 4,
    TILES = 2,
    BLOCK = ROWS * TILES,       /* vectors of results in work */
    PART = 512,                 /* weights of a row: two tiles' activations for them stay in the first cache for all rows */
    BYTES = 0                   /* depth of codes that don't fit seven bits */
};

/* The facts about a format that the loops are compiled for. */
struct kind {
    int group, depth, has_factor, has_bias;
};

/* A part of a tile's activations, as the loops want it. */
struct part {
    const __m256i *q;           /* [n / 4]: four of each token; of BYTES their magnitudes */
    const __m256i *flip;        /* [n / 4]: only of BYTES, what the codes are xored with */
    const __m256i *start;       /* [n / 4 / depth]: what sums of pairs start with; of BYTES [n / 32], sums of 32 */
    const float *scale;         /* [n / 32][LANES] */
};

/* ROWS rows of a panel from some weight on. */
struct rows {
    const uint8_t *code[ROWS];
    const float *scale[ROWS], *factor[ROWS];
    int32_t scale_pairs[ROWS][PART / 16];      /* where there is a factor: scales as two equal int16 */
};

FORCE_INLINE __m256i broadcast_4(const uint8_t *codes)
{
    int32_t four;
    __builtin_memcpy(&four, codes, sizeof four);
    return _mm256_set1_epi32(four);
}

/* sum += x in place. The compiler left to itself makes trees of additions, whose parts it can't hold in registers. */
#define ADD_EPI16(sum, x) __asm__("vpaddw %1, %0, %0" : "+x"(sum) : "xm"(x))
#define ADD_EPI32(sum, x) __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "xm"(x))

/* Loads a vector, once: the compiler would do so for each use. */
FORCE_INLINE __m256i load_once(const __m256i *p)
{
    __m256i v = *p;
    __asm__("" : "+x"(v));
    return v;
}

/* pairs[i * n_tiles + t] = (codes - bias) of row i times activations of tile t, of chunk c of the b-th 32: depth * 4 of them. */
FORCE_INLINE void multiply(const struct rows *w, const struct part *x, int n_tiles, int64_t b, int c, struct kind kind,
                           __m256i pairs[BLOCK])
{
    const int n_chunks = 8 / kind.depth;
    #pragma GCC unroll 8
    for (int j = 0; j < kind.depth; j++) {
        const int64_t at = 8 * b + c * kind.depth + j;
        __m256i q[TILES];
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++)
            q[t] = load_once(x[t].q + at);
        #pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++) {
            __m256i codes = broadcast_4(w->code[i] + 4 * at);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++) {
                __m256i products = _mm256_maddubs_epi16(codes, q[t]), *sum = pairs + i * n_tiles + t;
                if (j > 0)
                    ADD_EPI16(*sum, products);
                else
                    *sum = products;
                if (j == 0 && kind.has_bias)
                    ADD_EPI16(*sum, x[t].start[n_chunks * b + c]);
            }
        }
    }
}

/* What the pairs of chunk c of the b-th 32 of row i are multiplied with. */
FORCE_INLINE __m256i scale_of(const struct rows *w, int i, int64_t b, int c, struct kind kind)
{
    const int n_groups = 32 / kind.group, group = c * kind.depth * 4 / kind.group;
    return kind.has_factor ? _mm256_set1_epi32(w->scale_pairs[i][n_groups * b + group]) : _mm256_set1_epi16(1);
}

/* The sums of chunk c, of depth 2, added to those of the chunks before: row by row, so that all of them stay in registers. */
FORCE_INLINE void add_short_chunk(const struct rows *w, const struct part *x, int n_tiles, int64_t b, int c, struct kind kind,
                                  __m256i sum[BLOCK])
{
    const int64_t at = 8 * b + 2 * c;
    __m256i q[2][TILES];
    #pragma GCC unroll 2
    for (int t = 0; t < n_tiles; t++)
        q[0][t] = load_once(x[t].q + at), q[1][t] = load_once(x[t].q + at + 1);
    #pragma GCC unroll 4
    for (int i = 0; i < ROWS; i++) {
        __m256i first = broadcast_4(w->code[i] + 4 * at), second = broadcast_4(w->code[i] + 4 * at + 4);
        __m256i scale = scale_of(w, i, b, c, kind);
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++) {
            __m256i pairs = _mm256_maddubs_epi16(first, q[0][t]), *s = sum + i * n_tiles + t;
            ADD_EPI16(pairs, x[t].start[4 * b + c]);
            ADD_EPI16(pairs, _mm256_maddubs_epi16(second, q[1][t]));
            if (c > 0)
                ADD_EPI32(*s, _mm256_madd_epi16(pairs, scale));
            else
                *s = _mm256_madd_epi16(pairs, scale);
        }
    }
}

/* The same for 32 BYTES, summed up. */
FORCE_INLINE void multiply_bytes(const struct rows *w, const struct part *x, int n_tiles, int64_t b, __m256i sum[BLOCK])
{
    #pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        __m256i q[TILES], flip[TILES];
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++)
            q[t] = load_once(x[t].q + 8 * b + j), flip[t] = load_once(x[t].flip + 8 * b + j);
        #pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++) {
            __m256i codes = broadcast_4(w->code[i] + 32 * b + 4 * j);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++) {
                __m256i pairs = _mm256_maddubs_epi16(q[t], _mm256_xor_si256(codes, flip[t])), *s = sum + i * n_tiles + t;
                __m256i products = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
                if (j > 0)
                    ADD_EPI32(*s, products);
                else
                    *s = products;
                if (j == 0)
                    ADD_EPI32(*s, x[t].start[b]);
            }
        }
    }
}

/* Integer sums of the b-th 32 weights, times the scales where these are integers too; of BYTES without. */
FORCE_INLINE void sum_32(const struct rows *w, const struct part *x, int n_tiles, int64_t b, struct kind kind, __m256i sum[BLOCK])
{
    if (kind.depth == BYTES) {
        multiply_bytes(w, x, n_tiles, b, sum);
        return;
    }
    #pragma GCC unroll 4
    for (int c = 0; c < 8 / kind.depth; c++) {
        if (kind.depth == 2) {
            add_short_chunk(w, x, n_tiles, b, c, kind, sum);
            continue;
        }
        __m256i pairs[BLOCK];
        multiply(w, x, n_tiles, b, c, kind, pairs);
        #pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++) {
            __m256i scale = scale_of(w, i, b, c, kind);
            #pragma GCC unroll 2
            for (int t = 0; t < n_tiles; t++) {
                __m256i *s = sum + i * n_tiles + t, part = _mm256_madd_epi16(pairs[i * n_tiles + t], scale);
                if (c > 0)
                    ADD_EPI32(part, *s);
                *s = part;
            }
        }
    }
}

/* The b-th 32 weights of each row, added to the chains. */
FORCE_INLINE void add_32(const struct rows *w, const struct part *x, int n_tiles, int64_t b, struct kind kind, __m256 acc[BLOCK])
{
    __m256i sum[BLOCK];
    sum_32(w, x, n_tiles, b, kind, sum);
    #pragma GCC unroll 4
    for (int i = 0; i < ROWS; i++)
        #pragma GCC unroll 2
        for (int t = 0; t < n_tiles; t++) {
            __m256 p = _mm256_cvtepi32_ps(sum[i * n_tiles + t]), *a = acc + i * n_tiles + t;
            if (kind.depth == BYTES || !kind.has_factor)
                p = _mm256_mul_ps(p, _mm256_broadcast_ss(w->scale[i] + b));
            *a = _mm256_fmadd_ps(p, _mm256_load_ps(x[t].scale + b * LANES), *a);
        }
}

/* n weights of each row, added to the chains in out. */
FORCE_INLINE void multiply_part(const struct rows *w, const struct part *x, int n_tiles, int n, struct kind kind,
                                float (*out)[TILES * LANES])
{
    __m256 acc[BLOCK];
    for (int i = 0; i < ROWS * n_tiles; i++)
        acc[i] = _mm256_load_ps(out[i / n_tiles] + i % n_tiles * LANES);
    if (kind.has_factor) {
        for (int64_t b = 0; b < n / 256; b++) {
            __m256 sum[BLOCK];
            for (int i = 0; i < ROWS * n_tiles; i++)
                sum[i] = _mm256_setzero_ps();
            for (int j = 0; j < 8; j++)
                add_32(w, x, n_tiles, 8 * b + j, kind, sum);
            for (int i = 0; i < ROWS * n_tiles; i++)
                acc[i] = _mm256_fmadd_ps(sum[i], _mm256_broadcast_ss(w->factor[i / n_tiles] + b), acc[i]);
        }
    } else {
        for (int64_t b = 0; b < n / 32; b++)
            add_32(w, x, n_tiles, b, kind, acc);
    }
    for (int i = 0; i < ROWS * n_tiles; i++)
        _mm256_store_ps(out[i / n_tiles] + i % n_tiles * LANES, acc[i]);
}

#endif
