/* Sums of integer products to a row's float sum, for the fused dots of 256 weights at a time. */
#ifndef SUBBYTE_AVX512_DOT_H
#define SUBBYTE_AVX512_DOT_H
#include "../avx2/pieces.h"

PIECE __m256i int_dot(__m256i codes, __m256i x, int bias)
{
    __m256i start = _mm256_setzero_si256();
    if (bias > 0)
        start = _mm256_sub_epi32(start, _mm256_dpbusd_epi32(start, _mm256_set1_epi8((char)bias), x));
    return _mm256_dpbusd_epi32(start, codes, x);
}

#include "../avx2/dot.h"

/* Groups of 16 come as sixteen scales, groups of 32 as eight in the lower half. They were just stored in eights, and a wider load
 * would have to wait for those stores. */
PIECE __m512 load_scales(const float *p, int n_groups)
{
    __m512 low = _mm512_castps256_ps512(_mm256_loadu_ps(p));
    return n_groups == 16 ? _mm512_insertf32x8(low, _mm256_loadu_ps(p + 8), 1) : low;
}

/* Adds the products of 256 weights at p with x: lane l of product[i] is the sum over weights 64 i + 4 l .. 64 i + 4 l + 3, without
 * scales. */
PIECE void add_products(enum format f, scales_fn scales, const uint8_t *p, struct q8_row x, const __m512i product[4], __m512 sums[4])
{
    const int group = format_info[f].group, n_blocks = 256 / format_info[f].block, n_groups = 256 / group;
    float scale[16], min[16];
    scales(p, n_blocks, format_info[f].bytes, scale, min);
    __m512 x_scale = _mm512_castps256_ps512(_mm256_loadu_ps(x.scale));
    if (group == 16)
        x_scale = _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), x_scale);
    if (format_has_min(f)) {
        __m512i sum = group == 16 ? _mm512_cvtepi16_epi32(load32(x.sum))
                                  : _mm512_zextsi256_si512(_mm256_madd_epi16(load32(x.sum), _mm256_set1_epi16(1)));
        __m512 x_sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), x_scale);
        sums[0] = group == 16 ? _mm512_fnmadd_ps(load_scales(min, n_groups), x_sum, sums[0])
                              : _mm512_mask3_fnmadd_ps(load_scales(min, n_groups), x_sum, sums[0], 0x00ff);
    }
    __m512 product_scale = _mm512_mul_ps(load_scales(scale, n_groups), x_scale);
    __m512i lane_group = group == 16 ? _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3)
                                     : _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    #pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i of_lane = _mm512_add_epi32(lane_group, _mm512_set1_epi32(i * 64 / group));
        sums[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product[i]), _mm512_permutexvar_ps(of_lane, product_scale), sums[i]);
    }
}

PIECE float sum_all(const __m512 sums[4], __m256 rest)
{
    __m512 wide = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
    rest = _mm256_add_ps(rest, _mm512_castps512_ps256(wide));
    return sum_lanes(_mm256_add_ps(rest, _mm512_extractf32x8_ps(wide, 1)));
}

#endif
