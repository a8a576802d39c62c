/* Dot products of quantized rows with one token, AVX2: vpmaddubsw multiplies bytes in pairs, unsigned times signed, and saturates at
 * 32767. How a type's block becomes codes is decode.h and its kin, the loops over rows and blocks are dot_template.h. */
#include "decode.h"

/* Codes are at most 2 * bias, or 31 without one: up to bias 64 two products fit. Bigger codes lose their bias first (then they are
 * -128..127), and their sign moves to the activation. */
FORCE_INLINE __m256i dot_4(__m256i codes, __m256i x, int bias)
{
    __m256i pairs;
    if (bias <= 64) {
        pairs = _mm256_maddubs_epi16(codes, x);
    } else {
        __m256i w = _mm256_sub_epi8(codes, _mm256_set1_epi8((char)bias));
        pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    }
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

#include "dot_template.h"

#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, DEFINE_DOT(name) DEFINE_UNPACK(name))
#include "formats/formats.def"
#undef FORMAT

void fill_avx2_dot(struct kernels *table)
{
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, SET_DOT(name) SET_UNPACK(name))
#include "formats/formats.def"
#undef FORMAT
}
