/* Many tokens: 8 tokens in the lanes of two vectors, 4 rows at a time. The file that includes this defines products first:
 *   void products(const uint8_t *code, int8x16_t bias, const int8_t *q, int n, int32x4_t sum[2])
 *     adds to sum, exactly, one row's 4 n codes less the bias times as many positions of a tile of activations; n is 4 or 8 */
#include "transpose.h"

enum { LANES = 8, ROWS = 4 };

/* How codes lose their bias. BIG ones do before they are multiplied, since they would be taken for negative numbers; the sums of
 * others start at -bias * sum of x, which costs less. Formats with a min have no bias. */
enum bias_kind { SMALL, BIG, MIN };

/* Rows in work: code [k], scale and min [k / group] of the first. */
struct rows {
    const uint8_t *code;
    const float *scale, *min;
    int64_t k, n_groups;
    int bias;
};

/* product = codes k0 to k0 + 4 n - 1 of a row, less the bias, times x. sum: of x over these. */
PIECE void multiply(const struct rows *w, int row, int64_t k0, int n, enum bias_kind kind, const struct q8_tile *x,
                    const int32x4_t sum[2], int32x4_t product[2])
{
    int8x16_t bias = vdupq_n_s8(kind == BIG ? (int8_t)w->bias : 0);
    for (int h = 0; h < 2; h++)
        product[h] = kind == SMALL ? vmulq_n_s32(sum[h], -w->bias) : vdupq_n_s32(0);
    products(w->code + row * w->k + k0, bias, x->q + k0 * LANES, n, product);
}

/* The b-th 32 weights of each row, which share a scale. */
PIECE void add_32(const struct rows *w, int n_rows, int64_t b, enum bias_kind kind, const struct q8_tile *x, float32x4_t acc[ROWS][2])
{
    const int32_t *sums = x->sum + 2 * b * LANES;
    const float *scales = x->scale + b * LANES;
    const int32x4_t sum[2] = {vld1q_s32(sums) + vld1q_s32(sums + LANES), vld1q_s32(sums + 4) + vld1q_s32(sums + LANES + 4)};
    const float32x4_t x_scale[2] = {vld1q_f32(scales), vld1q_f32(scales + 4)};
    #pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++) {
        const int64_t g = i * w->n_groups + b;
        int32x4_t product[2];
        multiply(w, i, 32 * b, 8, kind, x, sum, product);
        #pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            float32x4_t p = vmulq_n_f32(vcvtq_f32_s32(product[h]), w->scale[g]);
            if (kind == MIN)
                p = vfmsq_n_f32(p, vcvtq_f32_s32(sum[h]), w->min[g]);
            acc[i][h] = vfmaq_f32(acc[i][h], p, x_scale[h]);
        }
    }
}

/* The same where halves of them have scales of their own: these go first, then the two meet the scale of x together. */
PIECE void add_2x16(const struct rows *w, int n_rows, int64_t b, enum bias_kind kind, const struct q8_tile *x, float32x4_t acc[ROWS][2])
{
    const int32_t *sums = x->sum + 2 * b * LANES;
    const float *scales = x->scale + b * LANES;
    const int32x4_t sum[2][2] = {{vld1q_s32(sums), vld1q_s32(sums + 4)}, {vld1q_s32(sums + LANES), vld1q_s32(sums + LANES + 4)}};
    const float32x4_t x_scale[2] = {vld1q_f32(scales), vld1q_f32(scales + 4)};
    #pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++) {
        const int64_t g = i * w->n_groups + 2 * b;
        int32x4_t first[2], second[2];
        multiply(w, i, 32 * b, 4, kind, x, sum[0], first);
        multiply(w, i, 32 * b + 16, 4, kind, x, sum[1], second);
        #pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            float32x4_t p = vmulq_n_f32(vcvtq_f32_s32(first[h]), w->scale[g]);
            p = vfmaq_n_f32(p, vcvtq_f32_s32(second[h]), w->scale[g + 1]);
            if (kind == MIN) {
                p = vfmsq_n_f32(p, vcvtq_f32_s32(sum[0][h]), w->min[g]);
                p = vfmsq_n_f32(p, vcvtq_f32_s32(sum[1][h]), w->min[g + 1]);
            }
            acc[i][h] = vfmaq_f32(acc[i][h], p, x_scale[h]);
        }
    }
}

/* Rows become neighbours: out[t * out_stride + i] = acc[i], lane t. */
PIECE void store_tile(float32x4_t acc[ROWS][2], int n_rows, int n_tokens, float *out, int64_t out_stride)
{
    if (n_rows == 1) {
        float lanes[LANES];
        vst1q_f32(lanes, acc[0][0]);
        vst1q_f32(lanes + 4, acc[0][1]);
        for (int t = 0; t < n_tokens; t++)
            out[t * out_stride] = lanes[t];
        return;
    }
    for (int h = 0; h < 2; h++) {
        int32x4_t v[4];
        for (int i = 0; i < 4; i++)
            v[i] = vreinterpretq_s32_f32(acc[i][h]);
        transpose_4x4(v);
        #pragma GCC unroll 4
        for (int t = 0; t < 4; t++)
            if (4 * h + t < n_tokens)
                vst1q_f32(out + (4 * h + t) * out_stride, vreinterpretq_f32_s32(v[t]));
    }
}

/* Rows r .. r + n_rows - 1 of a panel times a tile; n_rows is ROWS or 1. */
PIECE void some_rows(const struct panel *w, int r, int n_rows, const struct q8_tile *x, int n_tokens, int group,
                     enum bias_kind kind, float *out, int64_t out_stride)
{
    const int64_t n_groups = w->k / group, g = r * n_groups;
    const struct rows rows = {w->code + r * w->k, w->scale + g, w->min + g, w->k, n_groups, w->bias};
    float32x4_t acc[ROWS][2];
    for (int i = 0; i < n_rows; i++)
        acc[i][0] = acc[i][1] = vdupq_n_f32(0);
    for (int64_t b = 0; b < w->k / 32; b++)
        if (group == 32)
            add_32(&rows, n_rows, b, kind, x, acc);
        else
            add_2x16(&rows, n_rows, b, kind, x, acc);
    store_tile(acc, n_rows, n_tokens, out + r, out_stride);
}

PIECE void all_rows(const struct panel *w, const struct q8_tile *x, int n_tokens, int group, enum bias_kind kind, float *out,
                    int64_t out_stride)
{
    int r = 0;
    for (; r + ROWS <= w->n_rows; r += ROWS)
        some_rows(w, r, ROWS, x, n_tokens, group, kind, out, out_stride);
    for (; r < w->n_rows; r++)
        some_rows(w, r, 1, x, n_tokens, group, kind, out, out_stride);
}

/* A copy of the loops for each case, so that group and kind are constants in it. */
static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
    switch (w->group + (w->has_min ? MIN : w->bias > 64 ? BIG : SMALL)) {
    case 16 + SMALL: all_rows(w, x, n_tokens, 16, SMALL, out, out_stride); break;
    case 16 + MIN: all_rows(w, x, n_tokens, 16, MIN, out, out_stride); break;
    case 32 + SMALL: all_rows(w, x, n_tokens, 32, SMALL, out, out_stride); break;
    case 32 + BIG: all_rows(w, x, n_tokens, 32, BIG, out, out_stride); break;
    case 32 + MIN: all_rows(w, x, n_tokens, 32, MIN, out, out_stride); break;
    }
}
