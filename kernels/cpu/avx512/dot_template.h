/* avx2/dot_template.h with VNNI. */
#ifndef SUBBYTE_AVX512_DOT_TEMPLATE_H
#define SUBBYTE_AVX512_DOT_TEMPLATE_H
#include "cpu/avx2/decode.h"

FORCE_INLINE __m256i dot_4(__m256i codes, __m256i x, int bias)
{
    __m256i start = _mm256_setzero_si256();
    if (bias > 64)
        start = _mm256_sub_epi32(start, _mm256_dpbusd_epi32(start, _mm256_set1_epi8((char)bias), x));
    return _mm256_dpbusd_epi32(start, codes, x);
}

#include "cpu/avx2/dot_template.h"

#endif
