/* What the machine can do at this moment, for benchmarks/kernels.py: int8 multiply-adds and streamed bytes. */
#include <immintrin.h>
#include <stdint.h>

/* 256-bit multiply-add of bytes in its AVX2 form: three instructions for 32 products. Returns the products done. */
int64_t peak_avx2(int64_t n)
{
    __m256i sum[8], w = _mm256_set1_epi8(3), x = _mm256_set1_epi8(5), one = _mm256_set1_epi16(1);
    for (int i = 0; i < 8; i++)
        sum[i] = _mm256_setzero_si256();
    for (int64_t j = 0; j < n; j++)
        for (int i = 0; i < 8; i++) {
            __asm__("" : "+x"(x));                            /* keeps the loop from being computed beforehand */
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), one));
        }
    for (int i = 0; i < 8; i++)
        __asm__ volatile("" : : "x"(sum[i]));
    return n * 8 * 32;
}

#ifdef __AVX512VNNI__
int64_t peak_avx512(int64_t n)
{
    __m512i sum[16], w = _mm512_set1_epi8(3), x = _mm512_set1_epi8(5);
    for (int i = 0; i < 16; i++)
        sum[i] = _mm512_setzero_si512();
    for (int64_t j = 0; j < n; j++)
        #pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            __asm__("vpdpbusd %2, %1, %0" : "+v"(sum[i]) : "v"(w), "v"(x));
    for (int i = 0; i < 16; i++)
        __asm__ volatile("" : : "v"(sum[i]));
    return n * 16 * 64;
}
#endif

/* Reads n bytes (a multiple of 256). */
int64_t stream(const uint8_t *p, int64_t n)
{
    __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int64_t i = 0; i < n; i += 256) {
        _mm_prefetch((const char *)(p + i + 2048), _MM_HINT_T0);
        _mm_prefetch((const char *)(p + i + 2048 + 64), _MM_HINT_T0);
        _mm_prefetch((const char *)(p + i + 2048 + 128), _MM_HINT_T0);
        _mm_prefetch((const char *)(p + i + 2048 + 192), _MM_HINT_T0);
        for (int j = 0; j < 8; j++)
            sum[j % 4] = _mm256_or_si256(sum[j % 4], _mm256_loadu_si256((const void *)(p + i + 32 * j)));
    }
    __m256i all = _mm256_or_si256(_mm256_or_si256(sum[0], sum[1]), _mm256_or_si256(sum[2], sum[3]));
    return _mm256_extract_epi32(all, 0);
}
