/* Dot products of quantized rows with one token, AVX2: vpmaddubsw multiplies bytes in pairs, unsigned times signed, and saturates at
 * 32767. How a type's block becomes codes is decode.h and its kin, the loops over rows and blocks are dot_template.h. */
#include "decode.h"

FORCE_INLINE __m256i fours(__m256i codes, __m256i x) { return _mm256_madd_epi16(_mm256_maddubs_epi16(codes, x), _mm256_set1_epi16(1)); }

#include "dot_template.h"

FORMATS_WITHOUT_BOOKS(DEFINE_DOT_PLAIN)
FORMATS_WITHOUT_BOOKS(DEFINE_UNPACK_PLAIN)
FORMATS_WITH_BOOKS(DEFINE_DOT_BOOK)
FORMATS_WITH_BOOKS(DEFINE_UNPACK_BOOK)

void fill_avx2_dot(struct kernels *table)
{
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, SET_DOT(name) SET_UNPACK(name))
#include "formats/formats.def"
#undef FORMAT
}
