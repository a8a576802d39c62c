/* Activations to int8, and tiles of 8 tokens for gemm, with AVX2. */
#include <math.h>
#include <string.h>
#include "cpu/kernel_table.h"
#include "transpose.h"

enum { LANES = 8, FOUR = 4 };

/* The greatest |x| of a group, as eight candidates. As bits: integers order NaN above infinity above numbers. */
static __m256i group_max(const float *x)
{
    __m256i max = _mm256_setzero_si256();
    for (int i = 0; i < Q8_GROUP; i += 8) {
        __m256i bits = _mm256_loadu_si256((const void *)(x + i));
        max = _mm256_max_epu32(max, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
    }
    return max;
}

/* The greatest lane of each of four vectors. */
static __m128i max_of_four(const __m256i v[FOUR])
{
    __m256i a = _mm256_max_epu32(_mm256_unpacklo_epi32(v[0], v[1]), _mm256_unpackhi_epi32(v[0], v[1]));
    __m256i b = _mm256_max_epu32(_mm256_unpacklo_epi32(v[2], v[3]), _mm256_unpackhi_epi32(v[2], v[3]));
    __m256i all = _mm256_max_epu32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    return _mm_max_epu32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

/* A group's 32 bytes. The packs work within 128-bit halves, the permutation puts their dwords in order. */
static __m256i round_to_bytes(const float *x, __m256 inverse)
{
    __m256i q[4];
    for (int i = 0; i < 4; i++)
        q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse));
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* Sums of the 16-byte halves of four vectors, in order. */
static __m128i sums_of_four(const __m256i q[FOUR])
{
    __m256i fours[FOUR];
    for (int g = 0; g < FOUR; g++)
        fours[g] = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q[g]), _mm256_set1_epi16(1));
    __m256i sums = _mm256_hadd_epi32(_mm256_hadd_epi32(fours[0], fours[1]), _mm256_hadd_epi32(fours[2], fours[3]));
    __m128i first = _mm256_castsi256_si128(sums), second = _mm256_extracti128_si256(sums, 1);
    return _mm_packs_epi32(_mm_unpacklo_epi32(first, second), _mm_unpackhi_epi32(first, second));
}

/* n groups, 1 to 4. What is computed is what scalar/int8.c says, to the bit. */
static inline __attribute__((always_inline)) void quantize_groups(const float *x, int n, struct q8_row out)
{
    __m256i v[FOUR] = {0};
    for (int g = 0; g < n; g++)
        v[g] = group_max(x + g * Q8_GROUP);
    __m128i bits = max_of_four(v);
    __m128 max = _mm_castsi128_ps(bits);
    __m128 not_finite = _mm_castsi128_ps(_mm_cmpgt_epi32(bits, _mm_set1_epi32(0x7f7fffff)));
    __m128 tiny = _mm_cmplt_ps(max, _mm_set1_ps(0x1p-120f)), zero = _mm_or_ps(not_finite, tiny);
    __m128 scale = _mm_andnot_ps(tiny, _mm_div_ps(max, _mm_set1_ps(127)));
    scale = _mm_blendv_ps(scale, _mm_set1_ps(NAN), not_finite);

    float inverse[FOUR], scales[FOUR];
    int32_t zeros[FOUR];
    _mm_storeu_ps(inverse, _mm_div_ps(_mm_set1_ps(127), max));
    _mm_storeu_ps(scales, scale);
    _mm_storeu_si128((void *)zeros, _mm_castps_si128(zero));
    for (int g = 0; g < n; g++) {
        v[g] = _mm256_andnot_si256(_mm256_set1_epi32(zeros[g]), round_to_bytes(x + g * Q8_GROUP, _mm256_broadcast_ss(inverse + g)));
        _mm256_storeu_si256((void *)(out.q + g * Q8_GROUP), v[g]);
    }
    int16_t sums[2 * FOUR];
    _mm_storeu_si128((void *)sums, sums_of_four(v));
    memcpy(out.scale, scales, n * sizeof *scales);
    memcpy(out.sum, sums, n * 2 * sizeof *sums);
}

static void quantize(const float *x, int64_t k, struct q8_row out)
{
    int64_t i = 0;
    for (; i + FOUR * Q8_GROUP <= k; i += FOUR * Q8_GROUP)
        quantize_groups(x + i, FOUR, (struct q8_row){out.q + i, out.scale + i / 32, out.sum + i / 16});
    for (; i < k; i += Q8_GROUP)
        quantize_groups(x + i, 1, (struct q8_row){out.q + i, out.scale + i / 32, out.sum + i / 16});
}

static void pack_q8(struct q8_row rows, int n_tokens, int64_t k, struct q8_tile out) { pack_whole(rows, n_tokens, k, LANES, out); }

void fill_avx2_quantize(struct kernels *table)
{
    table->lanes = LANES;
    table->quantize = quantize;
    table->pack_q8 = pack_q8;
}
