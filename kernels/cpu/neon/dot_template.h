/* Fused dot, made from codes_F, scales_F and factor_F of a format (decode.h). The file that includes this defines dot_16 first:
 *   int32x4_t dot_16(int32x4_t sum, int8x16_t w, int8x16_t x)   sum plus the 16 products, four in each lane, exact
 * Sums of four groups at a time come into the lanes of one vector, where they meet their scales: p of cpu/order.h. Where those of a
 * part of CHAINS rows are there, rows come into the lanes, one chain each. */
#include "cpu/dot_tokens.h"
#include "cpu/order.h"
#include "decode.h"
#include "decode_iq.h"
#include "decode_k.h"
#include "decode_ternary.h"
#include "transpose.h"

enum {
    CHAINS = 4,         /* rows at once */
    PART = 2048         /* weights of a row, whose sums stay in the first cache */
};

/* What is left of a part of CHAINS rows; factors lie with CHAINS of them side by side. */
struct part {
    float p[MOST_TOKENS][CHAINS][PART / 32];
    float factor[PART / 256][CHAINS];
};

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

/* The scales of x that four groups from i on have, and the sums of x in them. */
FORCE_INLINE float32x4_t x_scales(int group, struct q8_row x, int64_t i)
{
    const float *scales = x.scale + i / 32;
    float32x4_t two = vcombine_f32(vld1_f32(scales), vdup_n_f32(0));
    return group == 32 ? vld1q_f32(scales) : vzip1q_f32(two, two);
}
FORCE_INLINE int32x4_t x_sums(int group, struct q8_row x, int64_t i)
{
    const int16_t *sums = x.sum + i / 16;
    return group == 32 ? vpaddlq_s16(vld1q_s16(sums)) : vmovl_s16(vld1_s16(sums));
}

/* Four groups' products of codes with the token's activations from i on, less the bias, times their scales. */
FORCE_INLINE float32x4_t scale_sums(enum format f, int32x4_t product, struct q8_row x, int64_t i, float32x4_t scale)
{
    if (bias_left(f) > 0)
        product = vmlsq_s32(product, x_sums(format_info[f].group, x, i), vdupq_n_s32(bias_left(f)));
    return vmulq_f32(vcvtq_f32_s32(product), scale);
}

/* Vector i of the codes from p on: of a block of 256, or of blocks of 32. */
FORCE_INLINE struct codes codes_at(enum format f, codes_fn codes, const uint8_t *p, int i)
{
    return format_info[f].block == 32 ? codes(p + i * format_info[f].bytes, 0) : codes(p, i);
}

/* Four groups of a row, group g from p on and the next, times the activations of each token from i on. */
FORCE_INLINE void sum_groups(enum format f, codes_fn codes, const uint8_t *p, int g, float32x4_t scale, const struct q8_row *x,
                             int n_tokens, int64_t i, float32x4_t out[MOST_TOKENS])
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
        out[t] = scale_sums(f, vpaddq_s32(pairs[0][t], pairs[1][t]), x[t], i, scale);
}

/* p of 128 weights of a row, from group g from p on. */
FORCE_INLINE void sum_128(enum format f, codes_fn codes, const uint8_t *p, int g, const float32x4_t *scale, const struct q8_row *x,
                          int n_tokens, int64_t i, float32x4_t out[MOST_TOKENS])
{
    sum_groups(f, codes, p, g, scale[0], x, n_tokens, i, out);
    if (format_info[f].group == 32)
        return;
    float32x4_t second[MOST_TOKENS];
    sum_groups(f, codes, p, g + 4, scale[1], x, n_tokens, i + 64, second);
    for (int t = 0; t < n_tokens; t++)
        out[t] = vpaddq_f32(out[t], second[t]);
}

/* The chains of mins over four groups, number g of the row from i on and the next. */
FORCE_INLINE void add_mins(enum format f, float32x4_t min, struct q8_row x, int64_t i, float32x4_t mins[2])
{
    const int group = format_info[f].group;
    float32x4_t *m = &mins[i / group / 4 % 2];
    *m = vfmaq_f32(*m, min, vmulq_f32(x_scales(group, x, i), vcvtq_f32_s32(x_sums(group, x, i))));
}

/* One block of 32 weights at i: what a row has beyond a multiple of 128. */
FORCE_INLINE void sum_block(enum format f, struct codes c, float scale, float min, struct q8_row x, int64_t i, float *p, float32x4_t mins[2])
{
    int product = vaddvq_s32(dot_of_32(c, x.q + i)), sum = x.sum[i / 16] + x.sum[i / 16 + 1];
    *p = (float)(product - bias_left(f) * sum) * scale;
    if (format_has_min(f)) {
        float chains[MIN_CHAINS];
        vst1q_f32(chains, mins[0]);
        vst1q_f32(chains + 4, mins[1]);
        float *m = &chains[i / 32 % MIN_CHAINS];
        *m = __builtin_fmaf(min, x.scale[i / 32] * (float)sum, *m);
        mins[0] = vld1q_f32(chains);
        mins[1] = vld1q_f32(chains + 4);
    }
}

/* Row r of a part: weights i to `end` of the row, from p on. */
FORCE_INLINE void sum_part(enum format f, codes_fn codes, scales_fn scales, factor_fn factor, const uint8_t *p, int64_t i, int64_t end,
                           const struct q8_row *x, int n_tokens, int r, struct part *part, float32x4_t mins[][CHAINS][2])
{
    const int block = format_info[f].block, bytes = format_info[f].bytes, group = format_info[f].group;
    const int at_once = block == 32 ? 128 : 256;
    float32x4_t scale[4], min[4];
    int64_t at = 0;                                          /* in the part */
    for (; i + at_once <= end; i += at_once, at += at_once, p += at_once / block * bytes) {
        scales(p, at_once / block, bytes, scale, min);
        if (format_has_factor(f))
            part->factor[at / 256][r] = factor(p);
        #pragma GCC unroll 2
        for (int j = 0; j < at_once / 128; j++) {
            float32x4_t out[MOST_TOKENS];
            sum_128(f, codes, p, 128 / group * j, scale + 32 / group * j, x, n_tokens, i + 128 * j, out);
            for (int t = 0; t < n_tokens; t++)
                vst1q_f32(part->p[t][r] + at / 32 + 4 * j, out[t]);
        }
        for (int j = 0; j < at_once / group / 4 && format_has_min(f); j++)
            for (int t = 0; t < n_tokens; t++)
                add_mins(f, min[j], x[t], i + 4 * group * j, mins[t][r]);
    }
    for (; block == 32 && i < end; i += 32, at += 32, p += bytes) {
        struct codes c = codes(p, 0);
        scales(p, 1, bytes, scale, min);
        float m = format_has_min(f) ? vgetq_lane_f32(*min, 0) : 0;
        for (int t = 0; t < n_tokens; t++)
            sum_block(f, c, vgetq_lane_f32(*scale, 0), m, x[t], i, part->p[t][r] + at / 32, mins[t][r]);
    }
}

/* Four groups of each row, from those of a row in the lanes to those of a group. */
FORCE_INLINE void transpose_sums(const float *p, float32x4_t v[CHAINS])
{
    int32x4_t square[CHAINS];
    for (int r = 0; r < CHAINS; r++)
        square[r] = vld1q_s32((const int32_t *)p + r * (PART / 32));
    transpose_4x4(square);
    for (int g = 0; g < CHAINS; g++)
        v[g] = vreinterpretq_f32_s32(square[g]);
}

/* The chains of all rows, over the first n weights of a part; xs: scales of their activations. */
FORCE_INLINE float32x4_t chain(enum format f, const struct part *part, int t, int64_t n, const float *xs, float32x4_t acc)
{
    const int block = format_has_factor(f) ? 8 : 4;
    for (int64_t i = 0; i < n / 32; i += block) {
        float32x4_t sum = format_has_factor(f) ? vdupq_n_f32(0) : acc, v[CHAINS];
        for (int j = 0; j < block; j += 4) {
            transpose_sums(part->p[t][0] + i + j, v);
            for (int g = 0; g < 4 && i + j + g < n / 32; g++)
                sum = vfmaq_n_f32(sum, v[g], xs[i + j + g]);
        }
        acc = format_has_factor(f) ? vfmaq_f32(acc, sum, vld1q_f32(part->factor[i / 8])) : sum;
    }
    return acc;
}

/* In the order of cpu/order.h. */
FORCE_INLINE float add_chains(const float32x4_t mins[2])
{
    float32x4_t four = vaddq_f32(mins[0], mins[1]);
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

/* n_tokens is a constant, at most MOST_TOKENS. */
FORCE_INLINE void dot_rows(enum format f, codes_fn codes, scales_fn scales, factor_fn factor, const uint8_t *rows, int n_rows, int64_t k,
                    const struct q8_row *x, int n_tokens, float *out, int64_t out_stride)
{
    struct part part;
    for (int row0 = 0; row0 < n_rows; row0 += CHAINS) {
        const int n = n_rows - row0 < CHAINS ? n_rows - row0 : CHAINS;
        float32x4_t acc[MOST_TOKENS], mins[MOST_TOKENS][CHAINS][2];
        for (int t = 0; t < n_tokens; t++)
            acc[t] = vdupq_n_f32(0);
        for (int t = 0; t < n_tokens; t++)
            for (int r = 0; r < CHAINS; r++)
                mins[t][r][0] = mins[t][r][1] = vdupq_n_f32(0);
        if (n < CHAINS)
            memset(&part, 0, sizeof part);      /* what rows lack, lanes have: zeros */
        for (int64_t i = 0; i < k; i += PART) {
            const int64_t end = k - i < PART ? k : i + PART;
            for (int r = 0; r < n; r++)
                sum_part(f, codes, scales, factor, rows + (row0 + r) * row_bytes(f, k) + row_bytes(f, i), i, end, x, n_tokens, r, &part,
                         mins);
            for (int t = 0; t < n_tokens; t++)
                acc[t] = chain(f, &part, t, end - i, x[t].scale + i / 32, acc[t]);
        }
        for (int t = 0; t < n_tokens; t++) {
            float sums[CHAINS];
            vst1q_f32(sums, acc[t]);
            for (int r = 0; r < n; r++)
                out[t * out_stride + row0 + r] = format_has_min(f) ? sums[r] - add_chains(mins[t][r]) : sums[r];
        }
    }
}

#define DOT_ROWS(name, n) \
    dot_rows(FORMAT_##name, codes_##name, scales_##name, factor_##name, rows, n_rows, k, tokens, n, out, out_stride)
#define DEFINE_DOT(name) DEFINE_DOT_OF(name, DOT_ROWS)
#define SET_DOT(name) table->dot[FORMAT_##name] = dot_##name;
/* For each quantized format of formats.def. */
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, DEFINE_DOT(name))
#include "formats/formats.def"
#undef FORMAT

static inline void set_dots(struct kernels *table)
{
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, SET_DOT(name))
#include "formats/formats.def"
#undef FORMAT
}
