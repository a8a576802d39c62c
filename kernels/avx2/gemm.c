/* Many tokens with AVX2: vpmaddubsw multiplies bytes in pairs, unsigned times signed, into 16 bits. */
#include "gemm.h"
#include "int8.h"

/* How many results of vpmaddubsw, two products each, an int16 lane can add up; longer chains measured slower than these.
 * SIGNED: not even one; such codes lose their bias first and their sign moves to the activation. */
#define DEPTH_OF(bias) ((bias) > 64 ? SIGNED : (bias) > 32 ? 1 : (bias) > 16 ? 2 : 4)

#define FORMAT(name, id, block, bytes, group, bias, max_code) \
    _Static_assert(DEPTH_OF(bias) * 2 * max_code * 127 <= INT16_MAX, #name " overflows 16 bits");
#include "../formats.def"
#undef FORMAT

PIECE __m256i products(const uint8_t *code, const __m256i *x, int n, int depth, __m256i bias, __m256i sum)
{
    const int step = depth == SIGNED ? 1 : depth;
    #pragma GCC unroll 8
    for (int i = 0; i < n; i += step) {
        __m256i pairs = _mm256_setzero_si256();
        #pragma GCC unroll 8
        for (int j = i; j < i + step; j++) {
            __m256i w = broadcast_4(code + 4 * j);
            if (depth == SIGNED) {
                w = _mm256_sub_epi8(w, bias);
                pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x[j], w));
            } else {
                pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w, x[j]));
            }
        }
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    return sum;
}

/* A copy of the loop for each case, so that depth, group and has_min are constants in it. */
static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
#define CASE(d, m) \
    case 2 * d + m: \
        if (w->group == 16) \
            all_rows(products, w, x, n_tokens, 16, d, m, out, out_stride); \
        else \
            all_rows(products, w, x, n_tokens, 32, d, m, out, out_stride); \
        break;
    switch (2 * DEPTH_OF(w->bias) + (w->has_min != 0)) {
    CASE(4, 0) CASE(4, 1) CASE(2, 0) CASE(2, 1) CASE(1, 0) CASE(1, 1) CASE(SIGNED, 0) CASE(SIGNED, 1)
    }
#undef CASE
}

void fill_avx2_gemm(struct kernels *table)
{
    table->gemm = gemm;
    table->gemm_tiles = 1;
}
