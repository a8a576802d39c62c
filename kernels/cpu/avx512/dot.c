/* One token or few with VNNI, 64 weights at a time. What is left of a row, and rows that were unpacked before, go as with AVX2. */
#include "dot_template.h"
#include "cpu/kernel_table.h"
#include "decode.h"

typedef __m512i codes64_fn(const uint8_t *blocks, int i);

/* Groups of 16 come as sixteen scales, groups of 32 as eight in the lower half. They were just stored in eights, and a wider load
 * would have to wait for those stores. */
FORCE_INLINE __m512 load_scales(const float *p, int n_groups)
{
    __m512 low = _mm512_castps256_ps512(_mm256_loadu_ps(p));
    return n_groups == 16 ? _mm512_insertf32x8(low, _mm256_loadu_ps(p + 8), 1) : low;
}

/* The scales of 256 weights times those of x; the mins times what x sums up to are taken off a sum. */
FORCE_INLINE __m512 product_scales_wide(enum format f, const float *scale, const float *min, struct q8_row x, __m512 *sum)
{
    const int group = format_info[f].group, n_groups = 256 / group;
    __m512 x_scale = _mm512_castps256_ps512(_mm256_loadu_ps(x.scale));
    if (group == 16)
        x_scale = _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), x_scale);
    if (format_has_min(f)) {
        __m512i sums = group == 16 ? _mm512_cvtepi16_epi32(load32(x.sum))
                                   : _mm512_zextsi256_si512(_mm256_madd_epi16(load32(x.sum), _mm256_set1_epi16(1)));
        __m512 x_sum = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), x_scale);
        *sum = group == 16 ? _mm512_fnmadd_ps(load_scales(min, n_groups), x_sum, *sum)
                           : _mm512_mask3_fnmadd_ps(load_scales(min, n_groups), x_sum, *sum, 0x00ff);
    }
    return _mm512_mul_ps(load_scales(scale, n_groups), x_scale);
}

/* 256 weights of a row times n_tokens rows of activations. */
FORCE_INLINE void dot_256_wide(enum format f, codes64_fn codes, scales_fn scales, const uint8_t *p, const struct q8_row *x, int n_tokens,
                        __m512 sums[][4])
{
    const int group = format_info[f].group, n_blocks = 256 / format_info[f].block, bytes = format_info[f].bytes;
    float scale[16], min[16];
    __m512 both[MOST_TOKENS];
    fetch_ahead(p, n_blocks * bytes);
    scales(p, n_blocks, bytes, scale, min);
    for (int t = 0; t < n_tokens; t++)
        both[t] = product_scales_wide(f, scale, min, x[t], &sums[t][0]);
    /* Lane l of vpdpbusd's result belongs to weights 4 l .. 4 l + 3. */
    __m512i lane_group = group == 16 ? _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3)
                                     : _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    #pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i c = codes(p, i), of_lane = _mm512_add_epi32(lane_group, _mm512_set1_epi32(i * 64 / group));
        #pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++) {
            __m512i q = _mm512_loadu_si512(x[t].q + 64 * i), start = _mm512_setzero_si512();
            if (format_info[f].bias > 0)
                start = _mm512_sub_epi32(start, _mm512_dpbusd_epi32(start, _mm512_set1_epi8((char)format_info[f].bias), q));
            __m512 product = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(start, c, q));
            sums[t][i] = _mm512_fmadd_ps(product, _mm512_permutexvar_ps(of_lane, both[t]), sums[t][i]);
        }
    }
}

FORCE_INLINE float sum_all(const __m512 sums[4], const __m256 rest[SUMS])
{
    __m512 wide = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
    __m256 half = _mm256_add_ps(_mm256_add_ps(rest[0], rest[1]), _mm512_castps512_ps256(wide));
    return sum_lanes(_mm256_add_ps(half, _mm512_extractf32x8_ps(wide, 1)));
}

/* n_tokens is a constant, at most MOST_TOKENS. */
FORCE_INLINE void dot_rows_64(enum format f, codes64_fn codes64, codes_fn codes, scales_fn scales, const uint8_t *rows, int n_rows,
                       int64_t k, const struct q8_row *x, int n_tokens, float *out, int64_t out_stride)
{
    const int block = format_info[f].block, bytes = format_info[f].bytes;
    for (int r = 0; r < n_rows; r++) {
        __m512 sums[MOST_TOKENS][4] = {0};
        __m256 rest[MOST_TOKENS][SUMS] = {0};
        struct q8_row part[MOST_TOKENS];
        const uint8_t *p = rows + r * row_bytes(f, k);
        int64_t i = 0;
        for (; i + 256 <= k; i += 256, p += 256 / block * bytes) {
            all_at(x, n_tokens, i, part);
            dot_256_wide(f, codes64, scales, p, part, n_tokens, sums);
        }
        for (; block == 32 && i < k; i += 32, p += bytes) {
            all_at(x, n_tokens, i, part);
            dot_32(f, codes, scales, p, part, n_tokens, rest);
        }
        for (int t = 0; t < n_tokens; t++)
            out[t * out_stride + r] = sum_all(sums[t], rest[t]);
    }
}

#define DOT_64(name, n) \
    dot_rows_64(FORMAT_##name, codes64_##name, codes_##name, scales_##name, rows, n_rows, k, tokens, n, out, out_stride)
#define DEFINE_DOT_64(name) DEFINE_DOT_OF(name, DOT_64)

#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, DEFINE_DOT_64(name))
#include "formats/formats.def"
#undef FORMAT

void fill_avx512_dot(struct kernels *table)
{
    table->dot_codes = dot_codes;
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, SET_DOT(name))
#include "formats/formats.def"
#undef FORMAT
}
