/* Fused dot, made from the pieces of a format (pieces.h). The file that includes this defines dot_16 first:
 *   int32x4_t dot_16(int32x4_t sum, int8x16_t w, int8x16_t x)   sum plus the 16 products, four in each lane, exact
 * A row is one sum over its groups in a fixed order, so its product does not depend on which rows are computed together. */
#include "../kernels.h"
#include "pieces.h"
#include "pieces_iq.h"
#include "pieces_k.h"
#include "pieces_ternary.h"

PIECE struct q8_row at(struct q8_row x, int64_t i)
{
    return (struct q8_row){x.q + i, x.scale + i / 32, x.sum + i / 16};
}

/* What codes_F has left of the bias: sums of x take it off later, for less than it costs to take it off each code. */
PIECE int bias_left(enum format f) { return codes_are_signed(f) ? 0 : format_info[f].bias; }

/* The lanes of each vector added up. */
PIECE int32x4_t sums_of_four(const int32x4_t v[4]) { return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3])); }

PIECE int32x4_t dot_low(int32x4_t sum, struct codes c, const int8_t *q) { return dot_16(sum, vreinterpretq_s8_u8(c.low), vld1q_s8(q)); }
PIECE int32x4_t dot_high(int32x4_t sum, struct codes c, const int8_t *q)
{
    return dot_16(sum, vreinterpretq_s8_u8(c.high), vld1q_s8(q + 16));
}

/* Four groups of weights at once. product: of their codes with x; sum: of x. */
PIECE float32x4_t add_groups(enum format f, int32x4_t product, int32x4_t sum, float32x4_t x_scale, float32x4_t scale,
                             float32x4_t min, float32x4_t total)
{
    if (bias_left(f) > 0)
        product = vmlsq_s32(product, sum, vdupq_n_s32(bias_left(f)));
    float32x4_t p = vmulq_f32(vcvtq_f32_s32(product), scale);
    if (format_has_min(f))
        p = vfmsq_f32(p, vcvtq_f32_s32(sum), min);
    return vfmaq_f32(total, p, x_scale);
}

/* 128 weights of a row times x, added to the total: from code vector `first` of a block on, or four blocks of 32. */
PIECE float32x4_t dot_128(enum format f, codes_fn codes, const uint8_t *p, int first, const float32x4_t *scale,
                          const float32x4_t *min, struct q8_row x, float32x4_t total)
{
    const int32x4_t zero = vdupq_n_s32(0);
    int32x4_t low[4], high[4];
    #pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        struct codes c = format_info[f].block == 32 ? codes(p + i * format_info[f].bytes, 0) : codes(p, first + i);
        low[i] = dot_low(zero, c, x.q + 32 * i);
        high[i] = dot_high(format_info[f].group == 32 ? low[i] : zero, c, x.q + 32 * i);
    }
    int16x8_t sums = vld1q_s16(x.sum);
    float32x4_t x_scale = vld1q_f32(x.scale);
    if (format_info[f].group == 32)
        return add_groups(f, sums_of_four(high), vpaddlq_s16(sums), x_scale, scale[0], min[0], total);
    const int32x4_t front[4] = {low[0], high[0], low[1], high[1]}, back[4] = {low[2], high[2], low[3], high[3]};
    total = add_groups(f, sums_of_four(front), vmovl_s16(vget_low_s16(sums)), vzip1q_f32(x_scale, x_scale), scale[0], min[0], total);
    return add_groups(f, sums_of_four(back), vmovl_high_s16(sums), vzip2q_f32(x_scale, x_scale), scale[1], min[1], total);
}

/* One block of 32 weights: what a row has beyond a multiple of 128. */
PIECE float dot_32(enum format f, codes_fn codes, scales_fn scales, const uint8_t *p, struct q8_row x)
{
    float32x4_t scale, min;
    struct codes c = codes(p, 0);
    scales(p, 1, format_info[f].bytes, &scale, &min);
    int product = vaddvq_s32(dot_high(dot_low(vdupq_n_s32(0), c, x.q), c, x.q)), sum = x.sum[0] + x.sum[1];
    float total = (float)(product - bias_left(f) * sum) * vgetq_lane_f32(scale, 0);
    if (format_has_min(f))
        total -= (float)sum * vgetq_lane_f32(min, 0);
    return total * x.scale[0];
}

PIECE void dot_rows(enum format f, codes_fn codes, scales_fn scales, const uint8_t *rows, int n_rows, int64_t k, struct q8_row x,
                    float *out)
{
    const int block = format_info[f].block, bytes = format_info[f].bytes, group = format_info[f].group;
    const int at_once = block == 32 ? 128 : 256;
    for (int r = 0; r < n_rows; r++) {
        float32x4_t total = vdupq_n_f32(0), scale[4], min[4];
        float rest = 0;
        const uint8_t *p = rows + r * row_bytes(f, k);
        int64_t i = 0;
        for (; i + at_once <= k; i += at_once, p += at_once / block * bytes) {
            scales(p, at_once / block, bytes, scale, min);
            #pragma GCC unroll 2
            for (int j = 0; j < at_once; j += 128)
                total = dot_128(f, codes, p, j / 32, scale + j / group / 4, min + j / group / 4, at(x, i + j), total);
        }
        for (; block == 32 && i < k; i += 32, p += bytes)
            rest += dot_32(f, codes, scales, p, at(x, i));
        out[r] = vaddvq_f32(total) + rest;
    }
}

/* Rows that were unpacked before. */
PIECE void dot_panel(const struct panel *w, int group, struct q8_row x, float *out)
{
    const int64_t n_groups = w->k / group;
    const int8x16_t bias = vdupq_n_s8((int8_t)w->bias);
    for (int r = 0; r < w->n_rows; r++) {
        const int8_t *code = (const int8_t *)w->code + r * w->k;
        const float *scale = w->scale + r * n_groups, *min = w->min + r * n_groups;
        float32x4_t total = vdupq_n_f32(0);
        float mins = 0;
        for (int64_t i = 0; i < w->k; i += group) {
            int32x4_t product = vdupq_n_s32(0);
            for (int j = 0; j < group; j += 16)
                product = dot_16(product, vsubq_s8(vld1q_s8(code + i + j), bias), vld1q_s8(x.q + i + j));
            total = vfmaq_n_f32(total, vcvtq_f32_s32(product), scale[i / group] * x.scale[i / 32]);
        }
        for (int64_t g = 0; w->has_min && g < n_groups; g++) {
            int sum = group == 16 ? x.sum[g] : x.sum[2 * g] + x.sum[2 * g + 1];
            mins += min[g] * (x.scale[g * group / 32] * (float)sum);
        }
        out[r] = vaddvq_f32(total) - mins;
    }
}

static inline void dot_codes(const struct panel *w, struct q8_row x, float *out)
{
    if (w->group == 16)
        dot_panel(w, 16, x, out);
    else
        dot_panel(w, 32, x, out);
}

#define DEFINE_DOT(name) \
    static void dot_##name(const uint8_t *rows, int n_rows, int64_t k, struct q8_row x, float *out) \
    { \
        dot_rows(FORMAT_##name, codes_##name, scales_##name, rows, n_rows, k, x, out); \
    }
#define SET_DOT(name) table->dot[FORMAT_##name] = dot_##name;
/* The formats with pieces: all that are quantized. */
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, DEFINE_DOT(name))
#include "../formats.def"
#undef FORMAT

static inline void set_dots(struct kernels *table)
{
    table->dot_codes = dot_codes;
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, SET_DOT(name))
#include "../formats.def"
#undef FORMAT
}
