/* avx2/dot_template.h with VNNI. */
#ifndef SUBBYTE_AVX512_DOT_TEMPLATE_H
#define SUBBYTE_AVX512_DOT_TEMPLATE_H
#include "cpu/avx2/decode.h"

FORCE_INLINE __m256i fours(__m256i codes, __m256i x) { return _mm256_dpbusd_epi32(_mm256_setzero_si256(), codes, x); }

#include "cpu/avx2/dot_template.h"

#endif
