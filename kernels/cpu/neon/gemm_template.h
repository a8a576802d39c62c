/* Many tokens: 8 tokens in the lanes of two vectors, ROWS rows at a time. The file that includes this first defines ROWS (1 or 4)
 * and products(code, k, n_rows, bias, q, n, product): product[i] = n codes of row i, less the bias, times as many positions of the
 * tile of activations q, exact. code is that of the first row, the others follow k bytes apart; n is 16 or 32. */
#include "transpose.h"

enum { LANES = 8 };

/* Rows in work: code [k], scale and min [k / group] of the first. */
struct rows {
    const uint8_t *code;
    const float *scale, *min;
    int64_t k, n_groups;
    int8x16_t bias;
};

FORCE_INLINE float32x4_t to_float(int32x4_t v) { return vcvtq_f32_s32(v); }

/* The b-th 32 weights of each row, which share a scale. */
FORCE_INLINE void add_32(const struct rows *w, int n_rows, int64_t b, int has_min, const struct q8_tile *x, float32x4_t acc[ROWS][2])
{
    const int32_t *sums = x->sum + 2 * b * LANES;
    int32x4_t product[ROWS][2];
    products(w->code + 32 * b, w->k, n_rows, w->bias, x->q + 32 * b * LANES, 32, product);
    #pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++) {
        const int64_t g = i * w->n_groups + b;
        #pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            float32x4_t p = vmulq_n_f32(to_float(product[i][h]), w->scale[g]);
            if (has_min)
                p = vfmsq_n_f32(p, to_float(vld1q_s32(sums + 4 * h) + vld1q_s32(sums + LANES + 4 * h)), w->min[g]);
            acc[i][h] = vfmaq_f32(acc[i][h], p, vld1q_f32(x->scale + b * LANES + 4 * h));
        }
    }
}

/* The same where halves of them have scales of their own: these go first, then the two meet the scale of x together. */
FORCE_INLINE void add_2x16(const struct rows *w, int n_rows, int64_t b, int has_min, const struct q8_tile *x, float32x4_t acc[ROWS][2])
{
    const int32_t *sums = x->sum + 2 * b * LANES;
    int32x4_t first[ROWS][2], second[ROWS][2];
    products(w->code + 32 * b, w->k, n_rows, w->bias, x->q + 32 * b * LANES, 16, first);
    products(w->code + 32 * b + 16, w->k, n_rows, w->bias, x->q + (32 * b + 16) * LANES, 16, second);
    #pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++) {
        const int64_t g = i * w->n_groups + 2 * b;
        #pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            float32x4_t p = vmulq_n_f32(to_float(first[i][h]), w->scale[g]);
            p = vfmaq_n_f32(p, to_float(second[i][h]), w->scale[g + 1]);
            if (has_min) {
                p = vfmsq_n_f32(p, to_float(vld1q_s32(sums + 4 * h)), w->min[g]);
                p = vfmsq_n_f32(p, to_float(vld1q_s32(sums + LANES + 4 * h)), w->min[g + 1]);
            }
            acc[i][h] = vfmaq_f32(acc[i][h], p, vld1q_f32(x->scale + b * LANES + 4 * h));
        }
    }
}

/* Rows become neighbours: out[t * out_stride + i] = acc[i], lane t. */
FORCE_INLINE void store_tile(float32x4_t acc[ROWS][2], int n_rows, int n_tokens, float *out, int64_t out_stride)
{
    for (int h = 0; h < 2; h++) {
        int32x4_t v[4];
        for (int i = 0; i < 4; i++)
            v[i] = i < n_rows ? vreinterpretq_s32_f32(acc[i][h]) : vdupq_n_s32(0);
        transpose_4x4(v);
        #pragma GCC unroll 4
        for (int t = 0; t < 4; t++)
            if (4 * h + t >= n_tokens)
                return;
            else if (n_rows == 1)
                vst1q_lane_s32((int32_t *)(out + (4 * h + t) * out_stride), v[t], 0);
            else
                vst1q_s32((int32_t *)(out + (4 * h + t) * out_stride), v[t]);
    }
}

/* Rows r .. r + n_rows - 1 of a panel times a tile; n_rows is ROWS or 1. */
FORCE_INLINE void some_rows(const struct panel *w, int r, int n_rows, const struct q8_tile *x, int n_tokens, int group, int has_min,
                     float *out, int64_t out_stride)
{
    const int64_t n_groups = w->k / group, g = r * n_groups, n_blocks = w->k / 32;
    const int8x16_t bias = vdupq_n_s8(has_min ? 0 : (int8_t)w->bias);
    const struct rows rows = {w->code + r * w->k, w->scale + g, w->min + g, w->k, n_groups, bias};
    float32x4_t acc[ROWS][2];
    for (int i = 0; i < n_rows; i++)
        acc[i][0] = acc[i][1] = vdupq_n_f32(0);
    for (int64_t b = 0; b < n_blocks; b++)
        if (group == 32)
            add_32(&rows, n_rows, b, has_min, x, acc);
        else
            add_2x16(&rows, n_rows, b, has_min, x, acc);
    store_tile(acc, n_rows, n_tokens, out + r, out_stride);
}

FORCE_INLINE void all_rows(const struct panel *w, const struct q8_tile *x, int n_tokens, int group, int has_min, float *out,
                    int64_t out_stride)
{
    int r = 0;
    for (; r + ROWS <= w->n_rows; r += ROWS)
        some_rows(w, r, ROWS, x, n_tokens, group, has_min, out, out_stride);
    for (; r < w->n_rows; r++)
        some_rows(w, r, 1, x, n_tokens, group, has_min, out, out_stride);
}

/* A copy of the loops for each case, so that group and has_min are constants in it. */
static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
    switch (w->group + (w->has_min != 0)) {
    case 16: all_rows(w, x, n_tokens, 16, 0, out, out_stride); break;
    case 17: all_rows(w, x, n_tokens, 16, 1, out, out_stride); break;
    case 32: all_rows(w, x, n_tokens, 32, 0, out, out_stride); break;
    case 33: all_rows(w, x, n_tokens, 32, 1, out, out_stride); break;
    }
}
