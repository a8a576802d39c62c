/* One token with VNNI, 64 weights at a time. What is left of a row, and rows that were unpacked before, go as with AVX2. */
#include "dot.h"
#include "int8.h"
#include "pieces.h"

typedef __m512i codes64_fn(const uint8_t *blocks, int i);

/* 256 weights of a row times x. */
PIECE void dot_256_wide(enum format f, codes64_fn codes, scales_fn scales, const uint8_t *p, struct q8_row x, __m512 sums[4])
{
    __m512i product[4];
    fetch_ahead(p, 256 / format_info[f].block * format_info[f].bytes);
    #pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        __m512i q = _mm512_loadu_si512(x.q + 64 * i), start = _mm512_setzero_si512();
        if (format_info[f].bias > 0)
            start = _mm512_sub_epi32(start, _mm512_dpbusd_epi32(start, _mm512_set1_epi8((char)format_info[f].bias), q));
        product[i] = _mm512_dpbusd_epi32(start, codes(p, i), q);
    }
    add_products(f, scales, p, x, product, sums);
}

PIECE void dot_rows_64(enum format f, codes64_fn codes64, codes_fn codes, scales_fn scales, const uint8_t *rows, int n_rows, int64_t k,
                       struct q8_row x, float *out)
{
    const int block = format_info[f].block, bytes = format_info[f].bytes;
    for (int r = 0; r < n_rows; r++) {
        __m512 sums[4] = {0};
        __m256 rest[SUMS] = {0};
        const uint8_t *p = rows + r * row_bytes(f, k);
        int64_t i = 0;
        for (; i + 256 <= k; i += 256, p += 256 / block * bytes)
            dot_256_wide(f, codes64, scales, p, at(x, i), sums);
        for (; block == 32 && i < k; i += 32, p += bytes)
            dot_32(f, codes, scales, p, at(x, i), rest);
        out[r] = sum_all(sums, _mm256_add_ps(rest[0], rest[1]));
    }
}

#define DEFINE_DOT_64(name) \
    static void dot_##name(const uint8_t *rows, int n_rows, int64_t k, struct q8_row x, float *out) \
    { \
        dot_rows_64(FORMAT_##name, codes64_##name, codes_##name, scales_##name, rows, n_rows, k, x, out); \
    }

FORMATS_WITH_PIECES(DEFINE_DOT_64)

void fill_avx512_dot(struct kernels *table)
{
    table->dot_codes = dot_codes;
    FORMATS_WITH_PIECES(SET_DOT)
}
