/* The vector that the sources in vector/ are written for, 8 floats wide. Same names as avx512/vec.h. */
#ifndef SUBBYTE_AVX2_VEC_H
#define SUBBYTE_AVX2_VEC_H
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { VLANES = 8, V_REGISTERS = 16 };
#define FILL(part) fill_avx2_##part

typedef __m256 vec;

static inline vec v_set(float x) { return _mm256_set1_ps(x); }
static inline vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
static inline vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
static inline vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
static inline vec v_div(vec a, vec b) { return _mm256_div_ps(a, b); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
/* Where one is NaN: b. */
static inline vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }
static inline vec v_min(vec a, vec b) { return _mm256_min_ps(a, b); }
static inline vec v_round(vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

static inline __m256i v_lane(void) { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
static inline __m256i v_first(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), v_lane()); }

/* The _n forms touch the first n elements only (n >= 1; from VLANES on: all lanes); the others load as zeros. */
static inline vec v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline vec v_load_n(const float *p, int64_t n)
{
    return n >= VLANES ? v_load(p) : _mm256_maskload_ps(p, v_first((int)n));
}

static inline void v_store(float *p, vec a) { _mm256_storeu_ps(p, a); }
static inline void v_store_n(float *p, int64_t n, vec a)
{
    if (n >= VLANES)
        v_store(p, a);
    else
        _mm256_maskstore_ps(p, v_first((int)n), a);
}

/* There are no masked loads and stores of 16-bit elements. */
static inline __m128i v_load_u16(const uint16_t *p, int64_t n)
{
    if (n >= VLANES)
        return _mm_loadu_si128((const __m128i *)p);
    uint16_t part[VLANES] = {0};
    memcpy(part, p, (size_t)n * sizeof *p);    /* rows of a file need not be aligned */
    return _mm_loadu_si128((const __m128i *)part);
}

static inline vec v_from_f16(const uint16_t *p, int64_t n) { return _mm256_cvtph_ps(v_load_u16(p, n)); }
static inline vec v_set_f16(uint16_t x) { return _mm256_cvtph_ps(_mm_set1_epi16((int16_t)x)); }
static inline vec v_from_i8(const int8_t *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p))); }
static inline vec v_from_bf16(const uint16_t *p, int64_t n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v_load_u16(p, n)), 16));
}

static inline void v_to_f16(uint16_t *p, int64_t n, vec a)
{
    __m128i half = _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    if (n >= VLANES) {
        _mm_storeu_si128((__m128i *)p, half);
        return;
    }
    uint16_t part[VLANES];
    _mm_storeu_si128((__m128i *)part, half);
    for (int i = 0; i < n; i++)
        p[i] = part[i];
}

/* y * 2^n for whole n in -150..129, in two steps since 2^n may be out of range where the product is not. */
static inline vec v_scale2(vec y, vec n)
{
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), bias = _mm256_set1_epi32(127);
    __m256i rest = _mm256_sub_epi32(whole, half);
    vec a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    vec b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return v_mul(v_mul(y, a), b);
}

/* Lanes from..to-1 keep a, the others get -infinity. */
static inline vec v_keep_lanes(vec a, int from, int to)
{
    __m256i keep = _mm256_andnot_si256(v_first(from), v_first(to));
    return _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), a, _mm256_castsi256_ps(keep));
}

/* out[i] = the sum of the lanes of a[i]: neighbours first. */
static inline void v_sum4(const vec a[4], float *out)
{
    vec sums = _mm256_hadd_ps(_mm256_hadd_ps(a[0], a[1]), _mm256_hadd_ps(a[2], a[3]));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1)));
}

static inline float v_sum(vec a)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline float v_greatest(vec a)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* A sum in double precision: it takes VLANES floats at a time. */
typedef struct { __m256d low, high; } wide;

static inline wide w_zero(void) { return (wide){_mm256_setzero_pd(), _mm256_setzero_pd()}; }
static inline wide w_fma(vec a, vec b, wide c)
{
    __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(b)), high = _mm256_cvtps_pd(_mm256_extractf128_ps(b, 1));
    c.low = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(a)), low, c.low);
    c.high = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)), high, c.high);
    return c;
}
static inline double w_sum(wide a)
{
    __m256d four = _mm256_add_pd(a.low, a.high);
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

/* Pairs (x0, y0, x1, y1, ...): rotated by the angles whose cosines and sines are c and s, each given in both lanes of its pair. */
static inline vec v_rotate_pairs(vec a, vec c, vec s)
{
    return _mm256_fmaddsub_ps(a, c, v_mul(_mm256_permute_ps(a, 0xb1), s));
}
/* (p0, p0, p1, p1, ...) of the first n elements, n <= VLANES / 2. */
static inline vec v_load_twice(const float *p, int64_t n)
{
    return _mm256_permutevar8x32_ps(v_load_n(p, n < VLANES / 2 ? n : VLANES / 2), _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}

/* (p0, p1, p0, p1, ...), where n is 1: (p0, 0, p0, 0, ...). The compiler makes shuffles of pairs that are not loaded as doubles. */
static inline vec v_load_pair(const float *p, int64_t n)
{
    double pair = 0;
    memcpy(&pair, p, n > 1 ? 2 * sizeof *p : sizeof *p);
    return _mm256_castpd_ps(_mm256_set1_pd(pair));
}

/* From elements 0 .. 7 of four rows to elements 2 j and 2 j + 1 of all rows in a[j]. */
static inline void v_transpose_pairs(vec a[4])
{
    __m256d r[4], b[4];
    for (int i = 0; i < 4; i++)
        r[i] = _mm256_castps_pd(a[i]);
    for (int i = 0; i < 4; i += 2) {
        b[i] = _mm256_unpacklo_pd(r[i], r[i + 1]);
        b[i + 1] = _mm256_unpackhi_pd(r[i], r[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        a[i] = _mm256_castpd_ps(_mm256_permute2f128_pd(b[i], b[i + 2], 0x20));
        a[i + 2] = _mm256_castpd_ps(_mm256_permute2f128_pd(b[i], b[i + 2], 0x31));
    }
}

/* Row i, column j to row j, column i. */
static inline void v_transpose(vec a[VLANES])
{
    vec b[VLANES];
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
        a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        b[i] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x20);
        b[i + 4] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++)
        a[i] = b[i];
}

#endif
