/* One token with AVX-VNNI: AVX2's kernels around vpdpbusd, which adds four products to 32 bits at once. */
#include "../avx2/pieces.h"

PIECE __m256i int_dot(__m256i codes, __m256i x, int bias)
{
    __m256i start = _mm256_setzero_si256();
    if (bias > 0)                                            /* the same for all rows: computed once for them */
        start = _mm256_sub_epi32(start, _mm256_dpbusd_avx_epi32(start, _mm256_set1_epi8((char)bias), x));
    return _mm256_dpbusd_avx_epi32(start, codes, x);
}

#include "../avx2/dot.h"
#include "int8.h"

FORMATS_WITH_PIECES(DEFINE_DOT)

void fill_avxvnni_dot(struct kernels *table)
{
    table->dot_codes = dot_codes;
    FORMATS_WITH_PIECES(SET_DOT)
}
