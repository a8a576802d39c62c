/* How many floating-point operations a core can do: independent chains of multiply-add, nothing loaded or stored. */
#include <immintrin.h>
#include <stdint.h>

enum { CHAINS = 12, LONG_CHAINS = 16 };

static volatile float sink;      /* what is never read may never be computed */

/* Each returns the operations done in n rounds. */
__attribute__((target("avx2,fma"))) int64_t peak_avx2(int64_t n)
{
    __m256 sum[CHAINS], factor = _mm256_set1_ps(0.999f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm256_set1_ps((float)i);
    for (int64_t round = 0; round < n; round++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm256_fmadd_ps(sum[i], factor, factor);
    for (int i = 0; i < CHAINS; i++)
        sink = _mm256_cvtss_f32(sum[i]);
    return n * CHAINS * 16;
}

__attribute__((target("avx512f"))) int64_t peak_avx512(int64_t n)
{
    __m512 sum[CHAINS], factor = _mm512_set1_ps(0.999f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (int64_t round = 0; round < n; round++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_fmadd_ps(sum[i], factor, factor);
    for (int i = 0; i < CHAINS; i++)
        sink = _mm512_cvtss_f32(sum[i]);
    return n * CHAINS * 32;
}

/* Two products and additions in each lane; it takes longer than a multiply-add, so there are more chains. */
__attribute__((target("avx512f,avx512bf16"))) int64_t peak_avx512bf16(int64_t n)
{
    __m512 sum[LONG_CHAINS];
    __m512bh factor = (__m512bh)_mm512_set1_epi32(0x3f7f3f7f);
    for (int i = 0; i < LONG_CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (int64_t round = 0; round < n; round++)
        for (int i = 0; i < LONG_CHAINS; i++)
            sum[i] = _mm512_dpbf16_ps(sum[i], factor, factor);
    for (int i = 0; i < LONG_CHAINS; i++)
        sink = _mm512_cvtss_f32(sum[i]);
    return n * LONG_CHAINS * 64;
}
