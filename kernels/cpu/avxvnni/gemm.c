/* Many tokens with AVX-VNNI: 8 of them in the lanes. */
#include <immintrin.h>
#include "cpu/kernel_table.h"

enum {
    LANES = 8,
    BLOCK = 8,          /* their integers take half of the registers; their floats wait in the first cache */
    ROWS_OF_ONE = 4
};

#define FORCE_INLINE static inline __attribute__((always_inline))

typedef __m256i ints;
typedef __m256 floats;

FORCE_INLINE ints i_set(int x) { return _mm256_set1_epi32(x); }
FORCE_INLINE ints i_load(const void *p) { return _mm256_load_si256(p); }
FORCE_INLINE ints i_add(ints a, ints b) { return _mm256_add_epi32(a, b); }
FORCE_INLINE ints i_mul(ints a, ints b) { return _mm256_mullo_epi32(a, b); }
FORCE_INLINE ints i_dot(ints sum, ints codes, ints q) { return _mm256_dpbusd_avx_epi32(sum, codes, q); }
FORCE_INLINE floats i_to_float(ints a) { return _mm256_cvtepi32_ps(a); }
FORCE_INLINE floats f_set(float x) { return _mm256_set1_ps(x); }
FORCE_INLINE floats f_load(const float *p) { return _mm256_load_ps(p); }
FORCE_INLINE void f_store(float *p, floats a) { _mm256_store_ps(p, a); }
FORCE_INLINE floats f_add(floats a, floats b) { return _mm256_add_ps(a, b); }
FORCE_INLINE floats f_sub(floats a, floats b) { return _mm256_sub_ps(a, b); }
FORCE_INLINE floats f_mul(floats a, floats b) { return _mm256_mul_ps(a, b); }
FORCE_INLINE floats f_fma(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }

#include "cpu/avx512/gemm_template.h"

void fill_avxvnni_gemm(struct kernels *table)
{
    table->gemm = gemm;
    table->gemm_tiles = MAX_TILES;
}
