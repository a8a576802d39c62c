/* Many tokens with AVX-VNNI: AVX2's loops around vpdpbusd, which adds four products to 32 bits at once. */
#include "../avx2/gemm.h"
#include "int8.h"

enum { DEPTH = 1 };                            /* the only one: nothing overflows */

PIECE __m256i products(const uint8_t *code, const __m256i *x, int n, int depth, __m256i bias, __m256i sum)
{
    (void)depth, (void)bias;
    #pragma GCC unroll 8
    for (int i = 0; i < n; i++)
        sum = _mm256_dpbusd_avx_epi32(sum, broadcast_4(code + 4 * i), x[i]);
    return sum;
}

/* A copy of the loop for each case, so that group and has_min are constants in it. */
static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
    switch (w->group + (w->has_min != 0)) {
    case 16: all_rows(products, w, x, n_tokens, 16, DEPTH, 0, out, out_stride); break;
    case 17: all_rows(products, w, x, n_tokens, 16, DEPTH, 1, out, out_stride); break;
    case 32: all_rows(products, w, x, n_tokens, 32, DEPTH, 0, out, out_stride); break;
    case 33: all_rows(products, w, x, n_tokens, 32, DEPTH, 1, out, out_stride); break;
    }
}

void fill_avxvnni_gemm(struct kernels *table)
{
    table->gemm = gemm;
}
