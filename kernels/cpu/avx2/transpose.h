/* Tokens to lanes and back. */
#ifndef SUBBYTE_AVX2_TRANSPOSE_H
#define SUBBYTE_AVX2_TRANSPOSE_H
#include <immintrin.h>
#include "cpu/tile.h"

/* 8 x 8 dwords, in place. */
static inline __attribute__((always_inline)) void transpose_8x8(__m256i v[8])
{
    __m256i a[8], b[8];
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            b[i + 2 * j] = _mm256_unpacklo_epi64(a[i + j], a[i + j + 2]);
            b[i + 2 * j + 1] = _mm256_unpackhi_epi64(a[i + j], a[i + j + 2]);
        }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
        v[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
    }
}

/* pack_q8 of a tile of so many lanes. */
static inline __attribute__((always_inline)) void pack_whole(struct q8_row rows, int n_tokens, int64_t k, int lanes, struct q8_tile out)
{
    for (int64_t i = 0; i < k; i += 32)
        for (int t0 = 0; t0 < lanes; t0 += 8) {
            __m256i v[8];
            for (int t = 0; t < 8; t++)
                v[t] = t0 + t < n_tokens ? _mm256_loadu_si256((const void *)(rows.q + (t0 + t) * k + i)) : _mm256_setzero_si256();
            transpose_8x8(v);
            for (int j = 0; j < 8; j++)
                _mm256_store_si256((void *)(out.q + ((i / 4 + j) * lanes + t0) * 4), v[j]);
        }
    pack_scales(rows, n_tokens, k, lanes, out);
}

/* out[t * out_stride + r] = in[r * in_stride + t]; in is 32-byte aligned, of strides that are multiples of 8. */
static inline void store_transposed(const float *in, int in_stride, int n_rows, int n_tokens, float *out, int64_t out_stride)
{
    int r = 0;
    for (; r + 8 <= n_rows; r += 8)
        for (int t = 0; t < n_tokens; t += 8) {
            __m256i v[8];
            #pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                v[i] = _mm256_load_si256((const void *)(in + (r + i) * in_stride + t));
            transpose_8x8(v);
            #pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                if (t + i < n_tokens)
                    _mm256_storeu_si256((void *)(out + (t + i) * out_stride + r), v[i]);
        }
    for (; r < n_rows; r++)
        for (int t = 0; t < n_tokens; t++)
            out[t * out_stride + r] = in[r * in_stride + t];
}

#endif
