/* Fused dot, made from codes_F and scales_F of a format (decode.h). The file that includes this defines dot_16 first:
 *   int32x4_t dot_16(int32x4_t sum, int8x16_t w, int8x16_t x)   sum plus the 16 products, four in each lane, exact
 * Sums of four groups at a time come into the lanes of one vector, where they meet their scales.
 * A row is one sum over its groups in a fixed order, so its product does not depend on which rows are computed together. */
#include "cpu/dot_tokens.h"
#include "decode.h"
#include "decode_iq.h"
#include "decode_k.h"
#include "decode_ternary.h"

enum { MOST_TOKENS = 4 };   /* tokens that meet a block while it is unpacked; their sums are in registers */

/* What codes_F has left of the bias: sums of x take it off later, for less than it costs to take it off each code. */
FORCE_INLINE int bias_left(enum format f) { return codes_are_signed(f) ? 0 : format_info[f].bias; }

FORCE_INLINE int32x4_t dot_of_32(struct codes c, const int8_t *q)
{
    int32x4_t low = dot_16(vdupq_n_s32(0), vreinterpretq_s8_u8(c.low), vld1q_s8(q));
    return dot_16(low, vreinterpretq_s8_u8(c.high), vld1q_s8(q + 16));
}

/* Two neighbouring groups, of 32 or the 16 and 16 of c[0]: pairs of lanes that add up to their products with q. */
FORCE_INLINE int32x4_t dot_pair(int group, const struct codes c[2], const int8_t *q)
{
    if (group == 32)
        return vpaddq_s32(dot_of_32(c[0], q), dot_of_32(c[1], q + 32));
    const int32x4_t zero = vdupq_n_s32(0);
    return vpaddq_s32(dot_16(zero, vreinterpretq_s8_u8(c[0].low), vld1q_s8(q)),
                      dot_16(zero, vreinterpretq_s8_u8(c[0].high), vld1q_s8(q + 16)));
}

/* Four groups times the token's activations from i on, added to its total. product: of their codes. */
FORCE_INLINE float32x4_t add_groups(enum format f, int32x4_t product, struct q8_row x, int64_t i, const float32x4_t *scale,
                             const float32x4_t *min, float32x4_t total)
{
    const int group = format_info[f].group;
    const float *x_scales = x.scale + i / 32;
    const int16_t *sums = x.sum + i / 16;
    float32x4_t two = vcombine_f32(vld1_f32(x_scales), vdup_n_f32(0));
    float32x4_t x_scale = group == 32 ? vld1q_f32(x_scales) : vzip1q_f32(two, two);
    int32x4_t sum = group == 32 ? vpaddlq_s16(vld1q_s16(sums)) : vmovl_s16(vld1_s16(sums));
    if (bias_left(f) > 0)
        product = vmlsq_s32(product, sum, vdupq_n_s32(bias_left(f)));
    float32x4_t p = vmulq_f32(vcvtq_f32_s32(product), *scale);
    if (format_has_min(f))
        p = vfmsq_f32(p, vcvtq_f32_s32(sum), *min);
    return vfmaq_f32(total, p, x_scale);
}

/* Vector i of the codes from p on: of a block of 256, or of blocks of 32. */
FORCE_INLINE struct codes codes_at(enum format f, codes_fn codes, const uint8_t *p, int i)
{
    return format_info[f].block == 32 ? codes(p + i * format_info[f].bytes, 0) : codes(p, i);
}

/* Four groups of a row, group g from p on and the next, times the activations of each token from i on, added to its total. */
FORCE_INLINE void dot_groups(enum format f, codes_fn codes, const uint8_t *p, int g, const float32x4_t *scale, const float32x4_t *min,
                      const struct q8_row *x, int n_tokens, int64_t i, float32x4_t total[MOST_TOKENS])
{
    const int group = format_info[f].group;
    int32x4_t pairs[2][MOST_TOKENS];
    #pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
        struct codes c[2];
        c[0] = codes_at(f, codes, p, (g + 2 * j) * group / 32);
        if (group == 32)
            c[1] = codes_at(f, codes, p, g + 2 * j + 1);
        #pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++)
            pairs[j][t] = dot_pair(group, c, x[t].q + i + 2 * j * group);
    }
    #pragma GCC unroll 4
    for (int t = 0; t < n_tokens; t++)
        total[t] = add_groups(f, vpaddq_s32(pairs[0][t], pairs[1][t]), x[t], i, scale, min, total[t]);
}

/* One block of 32 weights: what a row has beyond a multiple of 128. */
FORCE_INLINE float dot_block(enum format f, struct codes c, const float32x4_t *scale, const float32x4_t *min, struct q8_row x, int64_t i)
{
    int product = vaddvq_s32(dot_of_32(c, x.q + i)), sum = x.sum[i / 16] + x.sum[i / 16 + 1];
    float p = (float)(product - bias_left(f) * sum) * vgetq_lane_f32(*scale, 0);
    if (format_has_min(f))
        p -= (float)sum * vgetq_lane_f32(*min, 0);
    return p * x.scale[i / 32];
}

/* n_tokens is a constant, at most MOST_TOKENS. */
FORCE_INLINE void dot_blocks(enum format f, codes_fn codes, scales_fn scales, const uint8_t *rows, int n_rows, int64_t k,
                    const struct q8_row *x, int n_tokens, float *out, int64_t out_stride)
{
    const int block = format_info[f].block, bytes = format_info[f].bytes, group = format_info[f].group;
    const int at_once = block == 32 ? 128 : 256;
    for (int r = 0; r < n_rows; r++) {
        float32x4_t total[MOST_TOKENS], scale[4], min[4];
        float rest[MOST_TOKENS] = {0};
        const uint8_t *p = rows + r * row_bytes(f, k);
        int64_t i = 0;
        for (int t = 0; t < n_tokens; t++)
            total[t] = vdupq_n_f32(0);
        for (; i + at_once <= k; i += at_once, p += at_once / block * bytes) {
            scales(p, at_once / block, bytes, scale, min);
            #pragma GCC unroll 4
            for (int j = 0; j < at_once / group / 4; j++)
                dot_groups(f, codes, p, 4 * j, scale + j, min + j, x, n_tokens, i + 4 * group * j, total);
        }
        for (; block == 32 && i < k; i += 32, p += bytes) {
            struct codes c = codes(p, 0);
            scales(p, 1, bytes, scale, min);
            for (int t = 0; t < n_tokens; t++)
                rest[t] += dot_block(f, c, scale, min, x[t], i);
        }
        for (int t = 0; t < n_tokens; t++)
            out[t * out_stride + r] = vaddvq_f32(total[t]) + rest[t];
    }
}

/* Rows that were unpacked before. */
FORCE_INLINE void dot_panel(const struct panel *w, int group, struct q8_row x, float *out)
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

#define DOT_ROWS(name, n) dot_blocks(FORMAT_##name, codes_##name, scales_##name, rows, n_rows, k, tokens, n, out, out_stride)
#define DEFINE_DOT(name) DEFINE_DOT_OF(name, DOT_ROWS)
#define SET_DOT(name) table->dot[FORMAT_##name] = dot_##name;
/* For each quantized format of formats.def. */
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, DEFINE_DOT(name))
#include "formats/formats.def"
#undef FORMAT

static inline void set_dots(struct kernels *table)
{
    table->dot_codes = dot_codes;
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, SET_DOT(name))
#include "formats/formats.def"
#undef FORMAT
}
