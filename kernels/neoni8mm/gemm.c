/* Many tokens with NEON's matrix products (ARMv8.6 i8mm): two rows times two tokens, eight codes at a time; 8 tokens in a tile, 4
 * rows at a time. Codes are taken as unsigned, whatever their size. */
#include <arm_neon.h>
#include "../kernels.h"
#include "../tile.h"

#define PIECE static inline __attribute__((always_inline))

/* Rows and tokens go in pairs: a vector holds row 0 token 0, row 0 token 1, row 1 token 0, row 1 token 1. */
enum { LANES = 8, TOKEN_PAIRS = LANES / 2, ROW_PAIRS = 2 };

/* [k / 8][lanes][8] */
static void pack_q8(struct q8_row rows, int n_tokens, int64_t k, struct q8_tile out)
{
    for (int t = 0; t < LANES; t++)
        for (int64_t i = 0; i < k / 8; i++)
            vst1_s8(out.q + (i * LANES + t) * 8, t < n_tokens ? vld1_s8(rows.q + t * k + 8 * i) : vdup_n_s8(0));
    pack_scales(rows, n_tokens, k, LANES, out);
}

/* Rows in work, pair after pair: code [k], scale and min [k / group] of each. The second of a pair may be the first once more. */
struct rows {
    const uint8_t *code[2 * ROW_PAIRS];
    const float *scale[2 * ROW_PAIRS], *min[2 * ROW_PAIRS];
    int bias;
};

/* Two tokens' numbers for both rows, two rows' for both tokens. */
PIECE int32x4_t two_tokens(const int32_t *p) { return vreinterpretq_s32_s64(vld1q_dup_s64((const void *)p)); }
PIECE float32x4_t two_tokens_f(const float *p) { return vreinterpretq_f32_s64(vld1q_dup_s64((const void *)p)); }
PIECE float32x4_t two_rows(const float *const rows[2], int64_t g)
{
    return vcombine_f32(vld1_dup_f32(rows[0] + g), vld1_dup_f32(rows[1] + g));
}

/* The codes k0 to k0 + n - 1 of each row, less the bias, times x. sum: of x over these; the products start at -bias times it. */
PIECE void multiply(const struct rows *w, int n_pairs, int64_t k0, int n, const struct q8_tile *x,
                    const int32x4_t sum[TOKEN_PAIRS], int32x4_t product[ROW_PAIRS][TOKEN_PAIRS])
{
    for (int t = 0; t < TOKEN_PAIRS; t++)
        for (int i = 0; i < n_pairs; i++)
            product[i][t] = vmulq_n_s32(sum[t], -w->bias);
    #pragma GCC unroll 2
    for (int64_t k = k0; k < k0 + n; k += 16) {
        uint8x16_t pair[ROW_PAIRS][2];
        for (int i = 0; i < n_pairs; i++) {
            uint64x2_t a = vreinterpretq_u64_u8(vld1q_u8(w->code[2 * i] + k)), b = vreinterpretq_u64_u8(vld1q_u8(w->code[2 * i + 1] + k));
            pair[i][0] = vreinterpretq_u8_u64(vzip1q_u64(a, b));
            pair[i][1] = vreinterpretq_u8_u64(vzip2q_u64(a, b));
        }
        #pragma GCC unroll 2
        for (int j = 0; j < 2; j++)
            #pragma GCC unroll 4
            for (int t = 0; t < TOKEN_PAIRS; t++) {
                int8x16_t q = vld1q_s8(x->q + (k + 8 * j) * LANES + 16 * t);
                #pragma GCC unroll 2
                for (int i = 0; i < n_pairs; i++)
                    product[i][t] = vusmmlaq_s32(product[i][t], pair[i][j], q);
            }
    }
}

/* The b-th 32 weights of each row, which share a scale. */
PIECE void add_32(const struct rows *w, int n_pairs, int64_t b, int has_min, const struct q8_tile *x,
                  float32x4_t acc[ROW_PAIRS][TOKEN_PAIRS])
{
    int32x4_t sum[TOKEN_PAIRS], product[ROW_PAIRS][TOKEN_PAIRS];
    for (int t = 0; t < TOKEN_PAIRS; t++) {
        const int32_t *sums = x->sum + 2 * b * LANES + 2 * t;
        sum[t] = two_tokens(sums) + two_tokens(sums + LANES);
    }
    multiply(w, n_pairs, 32 * b, 32, x, sum, product);
    #pragma GCC unroll 2
    for (int i = 0; i < n_pairs; i++) {
        float32x4_t scale = two_rows(w->scale + 2 * i, b);
        #pragma GCC unroll 4
        for (int t = 0; t < TOKEN_PAIRS; t++) {
            float32x4_t p = vmulq_f32(vcvtq_f32_s32(product[i][t]), scale);
            if (has_min)
                p = vfmsq_f32(p, vcvtq_f32_s32(sum[t]), two_rows(w->min + 2 * i, b));
            acc[i][t] = vfmaq_f32(acc[i][t], p, two_tokens_f(x->scale + b * LANES + 2 * t));
        }
    }
}

/* The same where halves of them have scales of their own: these go first, then the two meet the scale of x together. */
PIECE void add_2x16(const struct rows *w, int n_pairs, int64_t b, int has_min, const struct q8_tile *x,
                    float32x4_t acc[ROW_PAIRS][TOKEN_PAIRS])
{
    float32x4_t both[ROW_PAIRS][TOKEN_PAIRS];
    #pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const int64_t g = 2 * b + h;
        int32x4_t sum[TOKEN_PAIRS], product[ROW_PAIRS][TOKEN_PAIRS];
        for (int t = 0; t < TOKEN_PAIRS; t++)
            sum[t] = two_tokens(x->sum + g * LANES + 2 * t);
        multiply(w, n_pairs, 16 * g, 16, x, sum, product);
        #pragma GCC unroll 2
        for (int i = 0; i < n_pairs; i++) {
            float32x4_t scale = two_rows(w->scale + 2 * i, g);
            #pragma GCC unroll 4
            for (int t = 0; t < TOKEN_PAIRS; t++) {
                float32x4_t p = vcvtq_f32_s32(product[i][t]);
                both[i][t] = h == 0 ? vmulq_f32(p, scale) : vfmaq_f32(both[i][t], p, scale);
                if (has_min)
                    both[i][t] = vfmsq_f32(both[i][t], vcvtq_f32_s32(sum[t]), two_rows(w->min + 2 * i, g));
            }
        }
    }
    #pragma GCC unroll 2
    for (int i = 0; i < n_pairs; i++)
        #pragma GCC unroll 4
        for (int t = 0; t < TOKEN_PAIRS; t++)
            acc[i][t] = vfmaq_f32(acc[i][t], both[i][t], two_tokens_f(x->scale + b * LANES + 2 * t));
}

/* Rows become neighbours: out[t * out_stride + i] = row i, token t. */
PIECE void store_tile(float32x4_t acc[ROW_PAIRS][TOKEN_PAIRS], int n_rows, int n_tokens, float *out, int64_t out_stride)
{
    #pragma GCC unroll 4
    for (int t = 0; t < LANES; t++) {
        if (t >= n_tokens)
            return;
        if (n_rows == 1)
            out[t * out_stride] = acc[0][t / 2][t % 2];
        else
            vst1q_f32(out + t * out_stride, t % 2 == 0 ? vuzp1q_f32(acc[0][t / 2], acc[1][t / 2])
                                                       : vuzp2q_f32(acc[0][t / 2], acc[1][t / 2]));
    }
}

/* Rows r .. r + n_rows - 1 of a panel times a tile; n_rows is 4 or 1. */
PIECE void some_rows(const struct panel *w, int r, int n_rows, const struct q8_tile *x, int n_tokens, int group, int has_min,
                     float *out, int64_t out_stride)
{
    const int64_t n_groups = w->k / group;
    const int n_pairs = n_rows == 1 ? 1 : ROW_PAIRS;
    struct rows rows = {.bias = w->bias};
    for (int i = 0; i < 2 * n_pairs; i++) {
        int row = n_rows == 1 ? r : r + i;
        rows.code[i] = w->code + row * w->k;
        rows.scale[i] = w->scale + row * n_groups;
        rows.min[i] = w->min + row * n_groups;
    }
    float32x4_t acc[ROW_PAIRS][TOKEN_PAIRS];
    for (int i = 0; i < n_pairs; i++)
        for (int t = 0; t < TOKEN_PAIRS; t++)
            acc[i][t] = vdupq_n_f32(0);
    for (int64_t b = 0; b < w->k / 32; b++)
        if (group == 32)
            add_32(&rows, n_pairs, b, has_min, x, acc);
        else
            add_2x16(&rows, n_pairs, b, has_min, x, acc);
    store_tile(acc, n_rows, n_tokens, out + r, out_stride);
}

PIECE void all_rows(const struct panel *w, const struct q8_tile *x, int n_tokens, int group, int has_min, float *out,
                    int64_t out_stride)
{
    int r = 0;
    for (; r + 2 * ROW_PAIRS <= w->n_rows; r += 2 * ROW_PAIRS)
        some_rows(w, r, 2 * ROW_PAIRS, x, n_tokens, group, has_min, out, out_stride);
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

void fill_neoni8mm(struct kernels *table)
{
    table->pack_q8 = pack_q8;
    table->gemm = gemm;
}
