/* Many tokens: 8 tokens in the lanes of two vectors, ROWS rows at a time. The file that includes this first defines ROWS (1 or 4)
 * and products(code, k, n_rows, bias, q, n, product): product[i] = n codes of row i, less the bias, times as many positions of the
 * tile of activations q, exact. code is that of the first row, the others follow k bytes apart; n is 16 or 32. */
#include "transpose.h"

enum { LANES = 8 };

/* Rows in work: code [k], scale [n_scales], factor [n_factors] and min [n_mins] of the first. */
struct rows {
    const uint8_t *code;
    const float *scale, *factor, *min;
    int64_t k, n_scales, n_factors, n_mins;
    int8x16_t bias;
};

typedef float32x4_t min_chains[ROWS][MIN_CHAINS][2];

FORCE_INLINE float32x4_t to_float(int32x4_t v) { return vcvtq_f32_s32(v); }

/* The b-th 32 weights of each row, added to the chains. */
FORCE_INLINE void add_32(const struct rows *w, int n_rows, int64_t b, int group, const struct q8_tile *x, float32x4_t acc[ROWS][2])
{
    int32x4_t first[ROWS][2], second[ROWS][2];
    products(w->code + 32 * b, w->k, n_rows, w->bias, x->q + 32 * b * LANES, group, first);
    if (group == 16)
        products(w->code + 32 * b + 16, w->k, n_rows, w->bias, x->q + (32 * b + 16) * LANES, 16, second);
    #pragma GCC unroll 4
    for (int i = 0; i < n_rows; i++) {
        const float *scale = w->scale + i * w->n_scales + b * 32 / group;
        #pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            float32x4_t p = vmulq_n_f32(to_float(first[i][h]), scale[0]);
            if (group == 16)
                p = vfmaq_n_f32(p, to_float(second[i][h]), scale[1]);
            acc[i][h] = vfmaq_f32(acc[i][h], p, vld1q_f32(x->scale + b * LANES + 4 * h));
        }
    }
}

/* Their mins. */
FORCE_INLINE void add_mins(const struct rows *w, int n_rows, int64_t b, int group, const struct q8_tile *x, min_chains mins)
{
    #pragma GCC unroll 2
    for (int j = 0; j < 32 / group; j++) {
        const int64_t g = b * 32 / group + j;
        #pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            const int32_t *sums = x->sum + (2 * b + j) * LANES + 4 * h;
            int32x4_t sum = group == 16 ? vld1q_s32(sums) : vld1q_s32(sums) + vld1q_s32(sums + LANES);
            float32x4_t x_sum = vmulq_f32(vld1q_f32(x->scale + b * LANES + 4 * h), to_float(sum));
            #pragma GCC unroll 4
            for (int i = 0; i < n_rows; i++) {
                float32x4_t *m = &mins[i][g % MIN_CHAINS][h];
                *m = vfmaq_n_f32(*m, x_sum, w->min[i * w->n_mins + g]);
            }
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
FORCE_INLINE void some_rows(const struct panel *w, int r, int n_rows, const struct q8_tile *x, int n_tokens, int group, int has_factor,
                     int has_min, float *out, int64_t out_stride)
{
    const int64_t n_scales = w->k / group, n_factors = w->k / 256, n_mins = w->k / w->min_group, block = has_factor ? 8 : 1;
    const int8x16_t bias = vdupq_n_s8(has_min ? 0 : (int8_t)w->bias);
    const struct rows rows = {w->code + r * w->k, w->scale + r * n_scales, w->factor + r * n_factors, w->min + r * n_mins,
                              w->k, n_scales, n_factors, n_mins, bias};
    float32x4_t acc[ROWS][2];
    min_chains mins;
    for (int i = 0; i < n_rows; i++) {
        acc[i][0] = acc[i][1] = vdupq_n_f32(0);
        for (int j = 0; j < MIN_CHAINS && has_min; j++)
            mins[i][j][0] = mins[i][j][1] = vdupq_n_f32(0);
    }
    for (int64_t b = 0; b < w->k / 32; b += block) {
        float32x4_t sum[ROWS][2];
        for (int i = 0; i < n_rows && has_factor; i++)
            sum[i][0] = sum[i][1] = vdupq_n_f32(0);
        for (int j = 0; j < block; j++) {
            add_32(&rows, n_rows, b + j, group, x, has_factor ? sum : acc);
            if (has_min)
                add_mins(&rows, n_rows, b + j, group, x, mins);
        }
        for (int i = 0; i < n_rows && has_factor; i++)
            for (int h = 0; h < 2; h++)
                acc[i][h] = vfmaq_n_f32(acc[i][h], sum[i][h], rows.factor[i * n_factors + b / 8]);
    }
    for (int i = 0; i < n_rows && has_min; i++)
        for (int h = 0; h < 2; h++)
            acc[i][h] = vsubq_f32(acc[i][h], SUM_OF_MINS(mins[i], [h]));
    store_tile(acc, n_rows, n_tokens, out + r, out_stride);
}

FORCE_INLINE void all_rows(const struct panel *w, const struct q8_tile *x, int n_tokens, int group, int has_factor, int has_min,
                    float *out, int64_t out_stride)
{
    int r = 0;
    for (; r + ROWS <= w->n_rows; r += ROWS)
        some_rows(w, r, ROWS, x, n_tokens, group, has_factor, has_min, out, out_stride);
    for (; r < w->n_rows; r++)
        some_rows(w, r, 1, x, n_tokens, group, has_factor, has_min, out, out_stride);
}

/* A copy of the loops for each case, so that group and whether there are factors and mins are constants in it. */
static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
#define CASE(group, factor, min) \
    case group + 2 * factor + min: all_rows(w, x, n_tokens, group, factor, min, out, out_stride); break;
    switch (w->group + 2 * (w->has_factor != 0) + (w->has_min != 0)) {
    CASE(16, 1, 0) CASE(16, 1, 1) CASE(32, 0, 0) CASE(32, 0, 1) CASE(32, 1, 0) CASE(32, 1, 1)
    }
#undef CASE
}
