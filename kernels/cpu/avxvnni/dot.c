/* One token with AVX-VNNI: AVX2's kernels around vpdpbusd, which adds four products to 32 bits at once. */
#include "cpu/avx2/decode.h"

/* Codes with a great bias, of bytes that have a sign in the file, are cheaper without it: their sign moves to the activation. */
FORCE_INLINE __m256i dot_4(__m256i codes, __m256i x, int bias)
{
    const __m256i zero = _mm256_setzero_si256();
    if (bias > 64) {
        __m256i w = _mm256_sub_epi8(codes, _mm256_set1_epi8((char)bias));
        return _mm256_dpbusd_avx_epi32(zero, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    }
    return _mm256_dpbusd_avx_epi32(zero, codes, x);
}

#include "cpu/avx2/dot_template.h"

#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, DEFINE_DOT(name))
#include "formats/formats.def"
#undef FORMAT

void fill_avxvnni_dot(struct kernels *table)
{
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, SET_DOT(name))
#include "formats/formats.def"
#undef FORMAT
}
