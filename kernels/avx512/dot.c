/* One token with VNNI: the AVX2 kernels with a better integer product. */
#include "../avx2/pieces.h"
#include "int8.h"

PIECE __m256i int_dot(__m256i codes, __m256i x, int bias)
{
    __m256i start = _mm256_setzero_si256();
    if (bias > 0)
        start = _mm256_sub_epi32(start, _mm256_dpbusd_epi32(start, _mm256_set1_epi8((char)bias), x));
    return _mm256_dpbusd_epi32(start, codes, x);
}

#include "../avx2/dot.h"

FORMATS_WITH_PIECES(DEFINE_DOT)
FORMATS_WITH_PIECES(DEFINE_UNPACK)

void fill_avx512_dot(struct kernels *table)
{
    table->dot_codes = dot_codes;
    FORMATS_WITH_PIECES(SET_DOT)
    FORMATS_WITH_PIECES(SET_UNPACK)
}
