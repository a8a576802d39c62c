/* Tiles of 16 tokens for gemm, and half tiles of 8. */
#include "cpu/avx2/transpose.h"
#include "cpu/kernel_table.h"

enum { LANES = 16 };

/* 4 x 4 qwords, in place. */
static inline __attribute__((always_inline)) void transpose_4x4(__m256i v[4])
{
    __m256i a[4];
    for (int i = 0; i < 4; i += 2) {
        a[i] = _mm256_unpacklo_epi64(v[i], v[i + 1]);
        a[i + 1] = _mm256_unpackhi_epi64(v[i], v[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        v[i] = _mm256_permute2x128_si256(a[i], a[i + 2], 0x20);
        v[i + 2] = _mm256_permute2x128_si256(a[i], a[i + 2], 0x31);
    }
}

/* [k / 8][LANES / 2][8] of activations. */
static void pack_half(struct q8_row rows, int n_tokens, int64_t k, struct q8_tile out)
{
    for (int64_t i = 0; i < k; i += 32)
        for (int t0 = 0; t0 < LANES / 2; t0 += 4) {
            __m256i v[4];
            for (int t = 0; t < 4; t++)
                v[t] = t0 + t < n_tokens ? _mm256_loadu_si256((const void *)(rows.q + (t0 + t) * k + i)) : _mm256_setzero_si256();
            transpose_4x4(v);
            for (int j = 0; j < 4; j++)
                _mm256_store_si256((void *)(out.q + ((i / 8 + j) * (LANES / 2) + t0) * 8), v[j]);
        }
    pack_scales(rows, n_tokens, k, LANES, out);
}

static void pack_q8(struct q8_row rows, int n_tokens, int64_t k, struct q8_tile out)
{
    if (fills_half(n_tokens, LANES))
        pack_half(rows, n_tokens, k, out);
    else
        pack_whole(rows, n_tokens, k, LANES, out);
}

void fill_avx512_pack(struct kernels *table)
{
    table->lanes = LANES;
    table->pack_q8 = pack_q8;
}
