/* Activations to int8, and tiles of 8 tokens for gemm, with AVX2. */
#include "../q8.h"
#include "int8.h"
#include "transpose.h"

enum { LANES = 8 };

static uint32_t max_u32(__m256i v)
{
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

/* 4 x 8 floats to 32 bytes. The packs work within 128-bit halves, the permutation puts their dwords in order. */
static __m256i round_to_bytes(const __m256 v[4], float inverse)
{
    __m256i q[4];
    for (int j = 0; j < 4; j++)
        q[j] = _mm256_cvtps_epi32(_mm256_mul_ps(v[j], _mm256_set1_ps(inverse)));
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

static void quantize(const float *x, int64_t k, struct q8_row out)
{
    for (int64_t g = 0; g < k / Q8_GROUP; g++) {
        __m256 v[4];
        __m256i max = _mm256_setzero_si256();
        for (int j = 0; j < 4; j++) {
            v[j] = _mm256_loadu_ps(x + g * Q8_GROUP + 8 * j);
            max = _mm256_max_epu32(max, _mm256_and_si256(_mm256_castps_si256(v[j]), _mm256_set1_epi32(0x7fffffff)));
        }
        float inverse;
        out.scale[g] = q8_scale(max_u32(max), &inverse);
        __m256i q = inverse == 0 ? _mm256_setzero_si256() : round_to_bytes(v, inverse);
        _mm256_storeu_si256((void *)(out.q + g * Q8_GROUP), q);

        /* vpsadbw sums 8 unsigned bytes; 128 was added to each. */
        __m256i sums = _mm256_sad_epu8(_mm256_xor_si256(q, _mm256_set1_epi8((char)0x80)), _mm256_setzero_si256());
        sums = _mm256_add_epi64(sums, _mm256_bsrli_epi128(sums, 8));
        out.sum[2 * g] = (int16_t)(_mm256_extract_epi16(sums, 0) - 16 * 128);
        out.sum[2 * g + 1] = (int16_t)(_mm256_extract_epi16(sums, 8) - 16 * 128);
    }
}

static void pack_q8(struct q8_row rows, int n_tokens, int64_t k, struct q8_tile out)
{
    __m256i v[LANES];
    for (int64_t i = 0; i < k; i += 32) {
        for (int t = 0; t < LANES; t++)
            v[t] = t < n_tokens ? _mm256_loadu_si256((const void *)(rows.q + t * k + i)) : _mm256_setzero_si256();
        transpose_8x8(v);
        for (int j = 0; j < 8; j++)
            _mm256_store_si256((void *)(out.q + (i / 4 + j) * LANES * 4), v[j]);
    }
    pack_scales(rows, n_tokens, k, LANES, out);
}

void fill_avx2_quantize(struct kernels *table)
{
    table->lanes = LANES;
    table->quantize = quantize;
    table->pack_q8 = pack_q8;
}
