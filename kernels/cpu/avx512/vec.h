/* The vector that the sources in vector/ are written for, 16 floats wide. Same names as avx2/vec.h. */
#ifndef SUBBYTE_AVX512_VEC_H
#define SUBBYTE_AVX512_VEC_H
#include <immintrin.h>
#include <math.h>
#include <stdint.h>

enum { VLANES = 16, V_REGISTERS = 32 };
#define FILL(part) fill_avx512_##part

typedef __m512 vec;

static inline vec v_set(float x) { return _mm512_set1_ps(x); }
static inline vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
static inline vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
static inline vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
static inline vec v_div(vec a, vec b) { return _mm512_div_ps(a, b); }
static inline vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
/* Where one is NaN: b. */
static inline vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }
static inline vec v_min(vec a, vec b) { return _mm512_min_ps(a, b); }
static inline vec v_round(vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

static inline __mmask16 v_first(int64_t n) { return n >= VLANES ? 0xffff : (__mmask16)((1u << n) - 1); }

/* The _n forms touch the first n elements only (n >= 1; from VLANES on: all lanes); the others load as zeros. */
static inline vec v_load(const float *p) { return _mm512_loadu_ps(p); }
static inline vec v_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(v_first(n), p); }
static inline void v_store(float *p, vec a) { _mm512_storeu_ps(p, a); }
static inline void v_store_n(float *p, int64_t n, vec a) { _mm512_mask_storeu_ps(p, v_first(n), a); }

static inline vec v_from_f16(const uint16_t *p, int64_t n) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(v_first(n), p)); }
static inline vec v_set_f16(uint16_t x) { return _mm512_cvtph_ps(_mm256_set1_epi16((int16_t)x)); }
static inline vec v_from_i8(const int8_t *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p))); }
static inline vec v_from_bf16(const uint16_t *p, int64_t n)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(v_first(n), p)), 16));
}
static inline void v_to_f16(uint16_t *p, int64_t n, vec a)
{
    _mm256_mask_storeu_epi16(p, v_first(n), _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* y * 2^n for whole n. */
static inline vec v_scale2(vec y, vec n) { return _mm512_scalef_ps(y, n); }

/* Lanes from..to-1 keep a, the others get -infinity. */
static inline vec v_keep_lanes(vec a, int from, int to)
{
    return _mm512_mask_mov_ps(v_set(-INFINITY), (__mmask16)(v_first(to) & ~v_first(from)), a);
}

static inline __m256 v_fold(vec a)
{
    return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
}

/* out[i] = the sum of the lanes of a[i]. */
static inline void v_sum4(const vec a[4], float *out)
{
    __m256 sums = _mm256_hadd_ps(_mm256_hadd_ps(v_fold(a[0]), v_fold(a[1])), _mm256_hadd_ps(v_fold(a[2]), v_fold(a[3])));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1)));
}
static inline float v_sum(vec a) { return _mm512_reduce_add_ps(a); }
static inline float v_greatest(vec a) { return _mm512_reduce_max_ps(a); }

/* A sum in double precision: it takes VLANES floats at a time. */
typedef struct { __m512d low, high; } wide;

static inline wide w_zero(void) { return (wide){_mm512_setzero_pd(), _mm512_setzero_pd()}; }
static inline wide w_fma(vec a, vec b, wide c)
{
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(b)), high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(b, 1));
    c.low = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(a)), low, c.low);
    c.high = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)), high, c.high);
    return c;
}
static inline double w_sum(wide a) { return _mm512_reduce_add_pd(_mm512_add_pd(a.low, a.high)); }

/* Pairs (x0, y0, x1, y1, ...): rotated by the angles whose cosines and sines are c and s, each given in both lanes of its pair. */
static inline vec v_rotate_pairs(vec a, vec c, vec s)
{
    return _mm512_fmaddsub_ps(a, c, v_mul(_mm512_permute_ps(a, 0xb1), s));
}
/* (p0, p0, p1, p1, ...) of the first n elements, n <= VLANES / 2. */
static inline vec v_load_twice(const float *p, int64_t n)
{
    __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(twice, v_load_n(p, n < VLANES / 2 ? n : VLANES / 2));
}

/* Row i, column j to row j, column i: first inside 4 x 4 squares, then the squares. */
static inline void v_transpose(vec a[VLANES])
{
    vec b[VLANES];
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        a[i] = _mm512_shuffle_ps(b[i], b[i + 2], 0x44);
        a[i + 1] = _mm512_shuffle_ps(b[i], b[i + 2], 0xee);
        a[i + 2] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0x44);
        a[i + 3] = _mm512_shuffle_ps(b[i + 1], b[i + 3], 0xee);
    }
    for (int half = 0; half < 16; half += 8)
        for (int i = half; i < half + 4; i++) {
            b[i] = _mm512_shuffle_f32x4(a[i], a[i + 4], 0x88);          /* squares 0 2 of both */
            b[i + 4] = _mm512_shuffle_f32x4(a[i], a[i + 4], 0xdd);      /* squares 1 3 */
        }
    for (int i = 0; i < 8; i++) {
        a[i] = _mm512_shuffle_f32x4(b[i], b[i + 8], 0x88);
        a[i + 8] = _mm512_shuffle_f32x4(b[i], b[i + 8], 0xdd);
    }
}

#endif
