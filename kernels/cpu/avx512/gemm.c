/* Many tokens with AVX-512 VNNI: 16 of them in the lanes. */
#include <immintrin.h>
#include "cpu/kernel_table.h"

enum {
    LANES = 16,
    BLOCK = 12,         /* fewer would wait for each other, more have no registers */
    ROWS_OF_ONE = 8
};

#define FORCE_INLINE static inline __attribute__((always_inline))

typedef __m512i ints;
typedef __m512 floats;

FORCE_INLINE ints i_set(int x) { return _mm512_set1_epi32(x); }
FORCE_INLINE ints i_load(const void *p) { return _mm512_load_si512(p); }
FORCE_INLINE ints i_add(ints a, ints b) { return _mm512_add_epi32(a, b); }
FORCE_INLINE ints i_mul(ints a, ints b) { return _mm512_mullo_epi32(a, b); }
FORCE_INLINE ints i_dot(ints sum, ints codes, ints q) { return _mm512_dpbusd_epi32(sum, codes, q); }
FORCE_INLINE floats i_to_float(ints a) { return _mm512_cvtepi32_ps(a); }
FORCE_INLINE floats f_set(float x) { return _mm512_set1_ps(x); }
FORCE_INLINE floats f_load(const float *p) { return _mm512_load_ps(p); }
FORCE_INLINE void f_store(float *p, floats a) { _mm512_store_ps(p, a); }
FORCE_INLINE floats f_add(floats a, floats b) { return _mm512_add_ps(a, b); }
FORCE_INLINE floats f_sub(floats a, floats b) { return _mm512_sub_ps(a, b); }
FORCE_INLINE floats f_mul(floats a, floats b) { return _mm512_mul_ps(a, b); }
FORCE_INLINE floats f_fma(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }

#include "gemm_template.h"
#include "gemm_half.h"

/* Whole tiles, and the last one as half of one where that is enough. */
static void gemm_with_half(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
    const int rest = fills_half(n_tokens % LANES, LANES) ? n_tokens % LANES : 0, whole = n_tokens - rest;
    const int64_t at = whole * w->k;
    if (whole)
        gemm(w, x, whole, out, out_stride);
    if (rest)
        gemm_half(w, &(struct q8_tile){x->q + at, x->scale + at / 32, x->sum + at / 16}, rest, out + whole * out_stride, out_stride);
}

void fill_avx512_gemm(struct kernels *table)
{
    table->gemm = gemm_with_half;
    table->gemm_tiles = MAX_TILES;
}
