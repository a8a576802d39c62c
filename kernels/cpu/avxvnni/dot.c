/* One token with AVX-VNNI: AVX2's kernels around vpdpbusd, which adds four products to 32 bits at once. */
#include "cpu/avx2/decode.h"

FORCE_INLINE __m256i fours(__m256i codes, __m256i x) { return _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), codes, x); }

#include "cpu/avx2/dot_template.h"

FORMATS_WITHOUT_BOOKS(DEFINE_DOT_PLAIN)
FORMATS_WITH_BOOKS(DEFINE_DOT_BOOK)

void fill_avxvnni_dot(struct kernels *table)
{
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, SET_DOT(name))
#include "formats/formats.def"
#undef FORMAT
}
