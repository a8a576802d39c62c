/* The vector that the sources in vector/ are written for, 8 floats in two registers. Same names as avx2/vec.h. */
#ifndef SUBBYTE_NEON_VEC_H
#define SUBBYTE_NEON_VEC_H
#include <arm_neon.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { VLANES = 8, V_REGISTERS = 16 };
#define FILL(part) fill_neon_##part

typedef struct { float32x4_t low, high; } vec;

static inline vec v_set(float x) { return (vec){vdupq_n_f32(x), vdupq_n_f32(x)}; }
static inline vec v_add(vec a, vec b) { return (vec){vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
static inline vec v_sub(vec a, vec b) { return (vec){vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)}; }
static inline vec v_mul(vec a, vec b) { return (vec){vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
static inline vec v_div(vec a, vec b) { return (vec){vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)}; }
static inline vec v_fma(vec a, vec b, vec c) { return (vec){vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)}; }
static inline vec v_round(vec a) { return (vec){vrndnq_f32(a.low), vrndnq_f32(a.high)}; }

/* Where one is NaN: b. So no vmaxq or vminq, which give NaN. */
static inline vec v_max(vec a, vec b)
{
    return (vec){vbslq_f32(vcgtq_f32(a.low, b.low), a.low, b.low), vbslq_f32(vcgtq_f32(a.high, b.high), a.high, b.high)};
}
static inline vec v_min(vec a, vec b)
{
    return (vec){vbslq_f32(vcltq_f32(a.low, b.low), a.low, b.low), vbslq_f32(vcltq_f32(a.high, b.high), a.high, b.high)};
}

/* The _n forms touch the first n elements only (n >= 1; from VLANES on: all lanes); the others load as zeros. There are no masked
 * loads and stores. */
static inline vec v_load(const float *p) { return (vec){vld1q_f32(p), vld1q_f32(p + 4)}; }
static inline vec v_load_n(const float *p, int64_t n)
{
    if (n >= VLANES)
        return v_load(p);
    float part[VLANES] = {0};
    for (int i = 0; i < n; i++)
        part[i] = p[i];
    return v_load(part);
}

static inline void v_store(float *p, vec a)
{
    vst1q_f32(p, a.low);
    vst1q_f32(p + 4, a.high);
}
static inline void v_store_n(float *p, int64_t n, vec a)
{
    if (n >= VLANES) {
        v_store(p, a);
        return;
    }
    float part[VLANES];
    v_store(part, a);
    for (int i = 0; i < n; i++)
        p[i] = part[i];
}

static inline uint16x8_t v_load_u16(const uint16_t *p, int64_t n)
{
    if (n >= VLANES)
        return vld1q_u16(p);
    uint16_t part[VLANES] = {0};
    memcpy(part, p, (size_t)n * sizeof *p);    /* rows of a file need not be aligned */
    return vld1q_u16(part);
}

static inline vec v_from_f16(const uint16_t *p, int64_t n)
{
    float16x8_t half = vreinterpretq_f16_u16(v_load_u16(p, n));
    return (vec){vcvt_f32_f16(vget_low_f16(half)), vcvt_high_f32_f16(half)};
}
static inline vec v_set_f16(uint16_t x)
{
    float32x4_t four = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(x)));
    return (vec){four, four};
}
static inline vec v_from_i8(const int8_t *p)
{
    int16x8_t wide = vmovl_s8(vld1_s8(p));
    return (vec){vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), vcvtq_f32_s32(vmovl_high_s16(wide))};
}
static inline vec v_from_bf16(const uint16_t *p, int64_t n)
{
    uint16x8_t top = v_load_u16(p, n);
    return (vec){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(top), 16)), vreinterpretq_f32_u32(vshll_high_n_u16(top, 16))};
}

static inline void v_to_f16(uint16_t *p, int64_t n, vec a)
{
    uint16x8_t half = vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a.low), a.high));
    if (n >= VLANES) {
        vst1q_u16(p, half);
        return;
    }
    uint16_t part[VLANES];
    vst1q_u16(part, half);
    for (int i = 0; i < n; i++)
        p[i] = part[i];
}

/* y * 2^n for whole n in -150..129, in two steps since 2^n may be out of range where the product is not. */
static inline float32x4_t v_scale2_4(float32x4_t y, float32x4_t n)
{
    int32x4_t whole = vcvtq_s32_f32(n), half = vshrq_n_s32(whole, 1), bias = vdupq_n_s32(127);
    int32x4_t rest = vsubq_s32(whole, half);
    float32x4_t a = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    float32x4_t b = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
    return vmulq_f32(vmulq_f32(y, a), b);
}
static inline vec v_scale2(vec y, vec n) { return (vec){v_scale2_4(y.low, n.low), v_scale2_4(y.high, n.high)}; }

/* Lanes from..to-1 keep a, the others get -infinity; `first` is the number of the first lane. */
static inline float32x4_t v_keep_4(float32x4_t a, int first, int from, int to)
{
    const int32_t numbers[4] = {first, first + 1, first + 2, first + 3};
    int32x4_t lane = vld1q_s32(numbers);
    uint32x4_t keep = vandq_u32(vcgeq_s32(lane, vdupq_n_s32(from)), vcltq_s32(lane, vdupq_n_s32(to)));
    return vbslq_f32(keep, a, vdupq_n_f32(-INFINITY));
}
static inline vec v_keep_lanes(vec a, int from, int to)
{
    return (vec){v_keep_4(a.low, 0, from, to), v_keep_4(a.high, 4, from, to)};
}

static inline float32x4_t v_fold(vec a) { return vaddq_f32(a.low, a.high); }

/* out[i] = the sum of the lanes of a[i]: neighbours first. */
static inline void v_sum4(const vec a[4], float *out)
{
    float32x4_t p[4];
    for (int i = 0; i < 4; i++)
        p[i] = vpaddq_f32(a[i].low, a[i].high);
    vst1q_f32(out, vpaddq_f32(vpaddq_f32(p[0], p[1]), vpaddq_f32(p[2], p[3])));
}
static inline float v_sum(vec a) { return vaddvq_f32(v_fold(a)); }
static inline float v_greatest(vec a) { return vmaxvq_f32(vmaxq_f32(a.low, a.high)); }

/* A sum in double precision: it takes VLANES floats at a time. */
typedef struct { float64x2_t part[4]; } wide;

static inline wide w_zero(void)
{
    float64x2_t zero = vdupq_n_f64(0);
    return (wide){{zero, zero, zero, zero}};
}
static inline wide w_fma(vec a, vec b, wide c)
{
    c.part[0] = vfmaq_f64(c.part[0], vcvt_f64_f32(vget_low_f32(a.low)), vcvt_f64_f32(vget_low_f32(b.low)));
    c.part[1] = vfmaq_f64(c.part[1], vcvt_high_f64_f32(a.low), vcvt_high_f64_f32(b.low));
    c.part[2] = vfmaq_f64(c.part[2], vcvt_f64_f32(vget_low_f32(a.high)), vcvt_f64_f32(vget_low_f32(b.high)));
    c.part[3] = vfmaq_f64(c.part[3], vcvt_high_f64_f32(a.high), vcvt_high_f64_f32(b.high));
    return c;
}
static inline double w_sum(wide a)
{
    return vaddvq_f64(vaddq_f64(vaddq_f64(a.part[0], a.part[1]), vaddq_f64(a.part[2], a.part[3])));
}

/* Pairs (x0, y0, x1, y1, ...): rotated by the angles whose cosines and sines are c and s, each given in both lanes of its pair. */
static inline float32x4_t v_rotate_4(float32x4_t a, float32x4_t c, float32x4_t s)
{
    const uint32x4_t minus_even = vreinterpretq_u32_u64(vdupq_n_u64(0x80000000));
    uint32x4_t other = vreinterpretq_u32_f32(vmulq_f32(vrev64q_f32(a), s));
    return vfmaq_f32(vreinterpretq_f32_u32(veorq_u32(other, minus_even)), a, c);
}
static inline vec v_rotate_pairs(vec a, vec c, vec s)
{
    return (vec){v_rotate_4(a.low, c.low, s.low), v_rotate_4(a.high, c.high, s.high)};
}
/* (p0, p0, p1, p1, ...) of the first n elements, n <= VLANES / 2. */
static inline vec v_load_twice(const float *p, int64_t n)
{
    float32x4_t four = n < VLANES / 2 ? v_load_n(p, n).low : vld1q_f32(p);
    return (vec){vzip1q_f32(four, four), vzip2q_f32(four, four)};
}

/* (p0, p1, p0, p1, ...), where n is 1: (p0, 0, p0, 0, ...). */
static inline vec v_load_pair(const float *p, int64_t n)
{
    double pair = 0;
    memcpy(&pair, p, n > 1 ? 2 * sizeof *p : sizeof *p);
    float32x4_t four = vreinterpretq_f32_f64(vdupq_n_f64(pair));
    return (vec){four, four};
}

/* From elements 0 .. 7 of four rows to elements 2 j and 2 j + 1 of all rows in a[j]. */
static inline void v_transpose_pairs(vec a[4])
{
    float64x2_t low[4], high[4];
    for (int i = 0; i < 4; i++) {
        low[i] = vreinterpretq_f64_f32(a[i].low);
        high[i] = vreinterpretq_f64_f32(a[i].high);
    }
    a[0] = (vec){vreinterpretq_f32_f64(vzip1q_f64(low[0], low[1])), vreinterpretq_f32_f64(vzip1q_f64(low[2], low[3]))};
    a[1] = (vec){vreinterpretq_f32_f64(vzip2q_f64(low[0], low[1])), vreinterpretq_f32_f64(vzip2q_f64(low[2], low[3]))};
    a[2] = (vec){vreinterpretq_f32_f64(vzip1q_f64(high[0], high[1])), vreinterpretq_f32_f64(vzip1q_f64(high[2], high[3]))};
    a[3] = (vec){vreinterpretq_f32_f64(vzip2q_f64(high[0], high[1])), vreinterpretq_f32_f64(vzip2q_f64(high[2], high[3]))};
}

/* Row i, column j to row j, column i, for a square of 4. */
static inline void v_transpose_4(float32x4_t a[4])
{
    float64x2_t b[4] = {
        vreinterpretq_f64_f32(vtrn1q_f32(a[0], a[1])), vreinterpretq_f64_f32(vtrn2q_f32(a[0], a[1])),
        vreinterpretq_f64_f32(vtrn1q_f32(a[2], a[3])), vreinterpretq_f64_f32(vtrn2q_f32(a[2], a[3])),
    };
    a[0] = vreinterpretq_f32_f64(vtrn1q_f64(b[0], b[2]));
    a[1] = vreinterpretq_f32_f64(vtrn1q_f64(b[1], b[3]));
    a[2] = vreinterpretq_f32_f64(vtrn2q_f64(b[0], b[2]));
    a[3] = vreinterpretq_f32_f64(vtrn2q_f64(b[1], b[3]));
}

/* The same for the whole square: its quarters, of which two change places. */
static inline void v_transpose(vec a[VLANES])
{
    float32x4_t quarter[2][2][4];
    for (int i = 0; i < VLANES; i++) {
        quarter[i / 4][0][i % 4] = a[i].low;
        quarter[i / 4][1][i % 4] = a[i].high;
    }
    for (int q = 0; q < 4; q++)
        v_transpose_4(quarter[q / 2][q % 2]);
    for (int i = 0; i < VLANES; i++)
        a[i] = (vec){quarter[0][i / 4][i % 4], quarter[1][i / 4][i % 4]};
}

#endif
