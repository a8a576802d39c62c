/* Many tokens times BF16 weights: vdpbf16ps adds two products to each of 16 floats, weights as the file has them. Rounding the activations costs each
 * of them at most 2^-8 of itself; products are exact, sums are rounded as those of floats are. */
#include "cpu/kernel_table.h"
#include "vec.h"
#include "cpu/vector/convert.h"

INLINE vec multiply(vec sum, const uint8_t *weights, vec x)
{
    int32_t pair;
    __builtin_memcpy(&pair, weights, sizeof pair);
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)x);
}

#include "cpu/vector/gemm_template.h"

/* 32 elements of a row, of which n are there: their pairs are 16 dwords, which change places as floats do. */
static vec load_pairs(const float *x, int64_t n)
{
    vec low = v_load_n(x, n), high = n > VLANES ? v_load_n(x + VLANES, n - VLANES) : v_set(0);
    return (vec)_mm512_cvtne2ps_pbh(high, low);
}

static void pack_bf16(const float *x, int64_t stride, int n_tokens, int64_t k, uint16_t *tile)
{
    for (int64_t i = 0; i < k; i += 2 * VLANES) {
        vec square[VLANES];
        for (int t = 0; t < VLANES; t++)
            square[t] = t < n_tokens ? load_pairs(x + t * stride + i, k - i) : v_set(0);
        v_transpose(square);
        for (int64_t j = 0; j < VLANES && i + 2 * j < k; j++)
            _mm512_store_ps(tile + (i + 2 * j) * VLANES, square[j]);
    }
}

static void gemm_bf16(const uint8_t *rows, int n_rows, int64_t k, const uint16_t *tiles, int n_tokens, float *out,
                      int64_t out_stride)
{
    struct gemm g = {rows, 2 * k, n_rows, 1, (const float *)tiles, k / 2, n_tokens, out, out_stride};
    gemm_all(&g);
}

void fill_avx512bf16_peak(struct kernels *table);      /* peak.c */
void fill_avx512bf16_dot(struct kernels *table);       /* dot.c */

void fill_avx512bf16(struct kernels *table)
{
    fill_avx512bf16_peak(table);
    table->pack_bf16 = pack_bf16;
    table->gemm_bf16 = gemm_bf16;
    fill_avx512bf16_dot(table);
}
