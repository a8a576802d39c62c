/* fold, 32 codes at a time. */
#include <immintrin.h>
#include "cpu/kernel_table.h"

static inline __attribute__((always_inline)) void fold(enum format f, int64_t k, uint8_t *code, const float *scale)
{
    __m512i of_half = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(1), 1);
    for (int64_t i = 0; i < k; i += 256) {
        __m512i scales = _mm512_cvtps_epi32(_mm512_loadu_ps(scale + i / 16));
        __m512i words = _mm512_zextsi256_si512(_mm512_cvtepi32_epi16(scales));
        for (int j = 0; j < 256 / 32; j++) {
            uint8_t *p = code + i + 32 * j;
            __m512i s = _mm512_permutexvar_epi16(_mm512_add_epi16(of_half, _mm512_set1_epi16((short)(2 * j))), words);
            __m512i c = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)p));
            c = _mm512_mullo_epi16(_mm512_sub_epi16(c, _mm512_set1_epi16((short)format_info[f].bias)), s);
            c = _mm512_add_epi16(c, _mm512_set1_epi16((short)folded_bias(f)));
            _mm256_storeu_si256((void *)p, _mm512_cvtepi16_epi8(c));
        }
    }
}

static void fold_Q2_K(int64_t k, uint8_t *code, const float *scale) { fold(FORMAT_Q2_K, k, code, scale); }
static void fold_Q3_K(int64_t k, uint8_t *code, const float *scale) { fold(FORMAT_Q3_K, k, code, scale); }

void fill_avx512_fold(struct kernels *table)
{
    table->fold[FORMAT_Q2_K] = fold_Q2_K;
    table->fold[FORMAT_Q3_K] = fold_Q3_K;
}
