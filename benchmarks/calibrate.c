/* What the machine can do at this moment, for benchmarks/kernels.py: int8 multiply-adds and streamed bytes. */
#include <immintrin.h>
#include <stdint.h>

/* Assembly, because a compiler would compute the loops beforehand or keep the sums in memory. The values do not matter. */
#define CLOBBER_0_12 "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12"

/* AVX2's best case: each product of bytes, vpmaddubsw, is followed by one 16-bit addition. Returns the multiply-adds done. */
#define STEP_AVX2(sum) "vpmaddubsw %%ymm12, %%ymm12, %%ymm11\n vpaddw %%ymm11, %%ymm" sum ", %%ymm" sum "\n"
int64_t peak_avx2(int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        __asm__ volatile(STEP_AVX2("0") STEP_AVX2("1") STEP_AVX2("2") STEP_AVX2("3") STEP_AVX2("4")
                         STEP_AVX2("5") STEP_AVX2("6") STEP_AVX2("7") STEP_AVX2("8") STEP_AVX2("9") : : : CLOBBER_0_12);
    return n * 10 * 32;
}

#ifdef __AVX512VNNI__
#define STEP_AVX512(sum) "vpdpbusd %%zmm12, %%zmm12, %%zmm" sum "\n"
int64_t peak_avx512(int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        __asm__ volatile(STEP_AVX512("0") STEP_AVX512("1") STEP_AVX512("2") STEP_AVX512("3") STEP_AVX512("4") STEP_AVX512("5")
                         STEP_AVX512("6") STEP_AVX512("7") STEP_AVX512("8") STEP_AVX512("9") STEP_AVX512("10") STEP_AVX512("11")
                         : : : CLOBBER_0_12);
    return n * 12 * 64;
}
#endif

/* Reads n bytes (a multiple of 256). */
int64_t stream(const uint8_t *p, int64_t n)
{
    __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int64_t i = 0; i < n; i += 256) {
        _mm_prefetch((const char *)(p + i + 8192), _MM_HINT_T0);
        _mm_prefetch((const char *)(p + i + 8192 + 64), _MM_HINT_T0);
        _mm_prefetch((const char *)(p + i + 8192 + 128), _MM_HINT_T0);
        _mm_prefetch((const char *)(p + i + 8192 + 192), _MM_HINT_T0);
        for (int j = 0; j < 8; j++)
            sum[j % 4] = _mm256_or_si256(sum[j % 4], _mm256_loadu_si256((const void *)(p + i + 32 * j)));
    }
    __m256i all = _mm256_or_si256(_mm256_or_si256(sum[0], sum[1]), _mm256_or_si256(sum[2], sum[3]));
    return _mm256_extract_epi32(all, 0);
}
