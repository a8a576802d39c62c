/* Products with int8 activations, written for reading: what the vector versions are tested against. */
#include <math.h>
#include <string.h>
#include "cpu/kernel_table.h"

enum { LANES = 8 };

/* Scale of a group of 32 from the largest bit pattern of |x|: integers order NaN above infinity above all numbers, which no float
 * maximum does. q = round to nearest even of x * inverse; an inverse of 0 says that all q are 0.
 * NaN or infinity gives a NaN scale, so that every product with the row is NaN and the step is found out.
 * Below 2^-120 the inverse would overflow; such activations count as zeros. */
static float q8_scale(uint32_t max_bits, float *inverse)
{
    float max;
    memcpy(&max, &max_bits, sizeof max);
    *inverse = 0;
    if (max_bits >= 0x7f800000)
        return NAN;
    if (max < 0x1p-120f)
        return 0;
    *inverse = 127 / max;
    return max / 127;
}

static void quantize(const float *x, int64_t k, struct q8_row out)
{
    for (int64_t i = 0; i < k; i += Q8_GROUP) {
        uint32_t max_bits = 0;
        for (int j = 0; j < Q8_GROUP; j++) {
            uint32_t bits;
            memcpy(&bits, x + i + j, sizeof bits);
            bits &= 0x7fffffff;
            max_bits = bits > max_bits ? bits : max_bits;
        }
        float inverse;
        out.scale[i / Q8_GROUP] = q8_scale(max_bits, &inverse);
        for (int j = 0; j < Q8_GROUP; j++)
            out.q[i + j] = inverse == 0 ? 0 : (int8_t)lrintf(x[i + j] * inverse);
    }
    for (int64_t i = 0; i < k / 16; i++) {
        out.sum[i] = 0;
        for (int j = 0; j < 16; j++)
            out.sum[i] += out.q[i * 16 + j];
    }
}

static void pack_q8(struct q8_row rows, int n_tokens, int64_t k, struct q8_tile out)
{
    for (int t = 0; t < LANES; t++) {
        int used = t < n_tokens;
        for (int64_t i = 0; i < k; i++)
            out.q[(i / 4 * LANES + t) * 4 + i % 4] = used ? rows.q[t * k + i] : 0;
        for (int64_t i = 0; i < k / 32; i++)
            out.scale[i * LANES + t] = used ? rows.scale[t * (k / 32) + i] : 0;
        for (int64_t i = 0; i < k / 16; i++)
            out.sum[i * LANES + t] = used ? rows.sum[t * (k / 16) + i] : 0;
    }
}

/* A token of a tile; a row of activations is a tile of one lane. */
struct token {
    struct q8_tile x;
    int lanes, t;
};

/* sum of (code - bias) * q over n weights from i on; with codes NULL of q alone. */
static int32_t integer_sum(const uint8_t *code, int bias, struct token token, int64_t i, int n)
{
    int32_t sum = 0;
    for (int64_t end = i + n; i < end; i++) {
        int8_t q = token.x.q[(i / 4 * token.lanes + token.t) * 4 + i % 4];
        sum += code ? (code[i] - bias) * q : q;
    }
    return sum;
}

/* 32 weights' integer sums times their scales, from weight i on: p of order.h. */
static float scaled_sum(const struct panel *w, int r, struct token token, int64_t i)
{
    const uint8_t *code = w->code + r * w->k;
    const float *scale = w->scale + r * (w->k / w->group);
    if (w->group == FOLDED)
        return (float)integer_sum(code, w->bias, token, i, 32);
    float p = 0;
    for (int64_t g = i / w->group; g < (i + 32) / w->group; g++)
        p += (float)integer_sum(code, w->bias, token, g * w->group, w->group) * scale[g];
    return p;
}

static float sum_of_mins(const struct panel *w, int r, struct token token)
{
    const int64_t n = w->k / w->min_group;
    float m[MIN_CHAINS] = {0};
    for (int64_t i = 0; i < n; i++) {
        float xs = token.x.scale[i * w->min_group / 32 * token.lanes + token.t];
        float sum = xs * (float)integer_sum(NULL, 0, token, i * w->min_group, w->min_group);
        m[i % MIN_CHAINS] = fmaf(w->min[r * n + i], sum, m[i % MIN_CHAINS]);
    }
    return SUM_OF_MINS(m, );
}

static float product(const struct panel *w, int r, struct token token)
{
    float acc = 0;
    const int block = w->has_factor ? 256 : 32;
    for (int64_t b = 0; b < w->k / block; b++) {
        float t = w->has_factor ? 0 : acc;
        for (int64_t i = b * block; i < (b + 1) * block; i += 32)
            t = fmaf(scaled_sum(w, r, token, i), token.x.scale[i / 32 * token.lanes + token.t], t);
        acc = w->has_factor ? fmaf(t, w->factor[r * (w->k / 256) + b], acc) : t;
    }
    return w->has_min ? acc - sum_of_mins(w, r, token) : acc;
}

static void dot_codes(const struct panel *w, struct q8_row x, float *out)
{
    struct token token = {{x.q, x.scale, NULL}, 1, 0};
    for (int r = 0; r < w->n_rows; r++)
        out[r] = product(w, r, token);
}

static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
    for (int r = 0; r < w->n_rows; r++)
        for (int t = 0; t < n_tokens; t++)
            out[t * out_stride + r] = product(w, r, (struct token){*x, LANES, t});
}

void fill_scalar_int8(struct kernels *table)
{
    table->lanes = LANES;
    table->quantize = quantize;
    table->pack_q8 = pack_q8;
    table->dot_codes = dot_codes;
    table->gemm = gemm;
    table->gemm_tiles = 1;
}
