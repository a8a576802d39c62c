/* Activations to int8, and tiles of 16 tokens for gemm, with AVX-512. */
#include "../q8.h"
#include "../avx2/transpose.h"
#include "int8.h"

enum { LANES = 16 };

static void quantize(const float *x, int64_t k, struct q8_row out)
{
    for (int64_t g = 0; g < k / Q8_GROUP; g++) {
        __m512 a = _mm512_loadu_ps(x + g * Q8_GROUP), b = _mm512_loadu_ps(x + g * Q8_GROUP + 16);
        __m512i max = _mm512_max_epu32(_mm512_castps_si512(_mm512_abs_ps(a)), _mm512_castps_si512(_mm512_abs_ps(b)));
        float inverse;
        out.scale[g] = q8_scale(_mm512_reduce_max_epu32(max), &inverse);
        __m512i qa = _mm512_setzero_si512(), qb = qa;
        if (inverse != 0) {
            qa = _mm512_cvtps_epi32(_mm512_mul_ps(a, _mm512_set1_ps(inverse)));
            qb = _mm512_cvtps_epi32(_mm512_mul_ps(b, _mm512_set1_ps(inverse)));
        }
        _mm_storeu_si128((void *)(out.q + g * Q8_GROUP), _mm512_cvtepi32_epi8(qa));
        _mm_storeu_si128((void *)(out.q + g * Q8_GROUP + 16), _mm512_cvtepi32_epi8(qb));
        out.sum[2 * g] = (int16_t)_mm512_reduce_add_epi32(qa);
        out.sum[2 * g + 1] = (int16_t)_mm512_reduce_add_epi32(qb);
    }
}

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

void fill_avx512_quantize(struct kernels *table)
{
    table->lanes = LANES;
    table->quantize = quantize;
    table->pack_q8 = pack_q8;
}
