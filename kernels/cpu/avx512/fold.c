/* fold of the K-quants that can be: 16 integer scales of a block found by one division, then 32 codes at a time. */
#include <immintrin.h>
#include "cpu/fold.h"
#include "cpu/kernel_table.h"

#define FORCE_INLINE static inline __attribute__((always_inline))

enum { NOT_FINITE = 0x01 | 0x08 | 0x10 | 0x80 };         /* classes: quiet NaN, infinities, signalling NaN */

FORCE_INLINE float fold_block(enum format f, float d, uint8_t *code, const float *scale, float *min)
{
    if (d == 0)
        d = 1;
    __m512 divisor = _mm512_set1_ps(d);
    __mmask16 finite = _knot_mask16(_mm512_fpclass_ps_mask(divisor, NOT_FINITE));
    __m512i integers = _mm512_maskz_cvtps_epi32(finite, _mm512_div_ps(_mm512_loadu_ps(scale), divisor));
    __m512i words = _mm512_zextsi256_si512(_mm512_cvtepi32_epi16(integers));
    __m512i of_half = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(1), 1);
    for (int i = 0; i < FOLDED / 32; i++) {
        __m512i s = _mm512_permutexvar_epi16(_mm512_add_epi16(of_half, _mm512_set1_epi16((short)(2 * i))), words);
        __m512i c = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)(code + 32 * i)));
        c = _mm512_mullo_epi16(_mm512_sub_epi16(c, _mm512_set1_epi16((short)format_info[f].bias)), s);
        c = _mm512_add_epi16(c, _mm512_set1_epi16((short)folded_bias(f)));
        _mm256_storeu_si256((void *)(code + 32 * i), _mm512_cvtepi16_epi8(c));
    }
    if (format_has_min(f))
        _mm512_storeu_ps(min, _mm512_div_ps(_mm512_loadu_ps(min), divisor));
    return d;
}

DEFINE_FOLD(Q2_K)
DEFINE_FOLD(Q3_K)

void fill_avx512_fold(struct kernels *table)
{
    table->fold[FORMAT_Q2_K] = fold_Q2_K;
    table->fold[FORMAT_Q3_K] = fold_Q3_K;
}
