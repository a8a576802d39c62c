/* Tiles of 16 tokens for gemm. */
#include "cpu/avx2/transpose.h"
#include "cpu/kernel_table.h"

enum { LANES = 16 };

static void pack_q8(struct q8_row rows, int n_tokens, int64_t k, struct q8_tile out)
{
    for (int64_t i = 0; i < k; i += 32)
        for (int t0 = 0; t0 < LANES; t0 += 8) {
            __m256i v[8];
            for (int t = 0; t < 8; t++)
                v[t] = t0 + t < n_tokens ? _mm256_loadu_si256((const void *)(rows.q + (t0 + t) * k + i)) : _mm256_setzero_si256();
            transpose_8x8(v);
            for (int j = 0; j < 8; j++)
                _mm256_store_si256((void *)(out.q + ((i / 4 + j) * LANES + t0) * 4), v[j]);
        }
    pack_scales(rows, n_tokens, k, LANES, out);
}

void fill_avx512_pack(struct kernels *table)
{
    table->lanes = LANES;
    table->pack_q8 = pack_q8;
}
