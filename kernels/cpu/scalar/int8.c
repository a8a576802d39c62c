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

static void dot_codes(const struct panel *w, struct q8_row x, float *out)
{
    int64_t n_groups = w->k / w->group;
    for (int r = 0; r < w->n_rows; r++) {
        float total = 0;
        for (int64_t g = 0; g < n_groups; g++) {
            const uint8_t *code = w->code + r * w->k + g * w->group;
            const int8_t *q = x.q + g * w->group;
            int32_t product = 0, sum = 0;
            for (int i = 0; i < w->group; i++) {
                product += (code[i] - w->bias) * q[i];
                sum += q[i];
            }
            float x_scale = x.scale[g * w->group / Q8_GROUP];
            total += w->scale[r * n_groups + g] * x_scale * (float)product;
            if (w->has_min)
                total -= w->min[r * n_groups + g] * x_scale * (float)sum;
        }
        out[r] = total;
    }
}

/* Products and sums are those of 16 weights, which share all there is to share. */
static void gemm(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride)
{
    int min_group = w->group == FOLDED ? 16 : w->group;
    for (int r = 0; r < w->n_rows; r++) {
        const uint8_t *code = w->code + r * w->k;
        const float *scale = w->scale + r * (w->k / w->group), *min = w->min + r * (w->k / min_group);
        for (int t = 0; t < n_tokens; t++) {
            float total = 0;
            for (int64_t first = 0; first < w->k; first += 16) {
                int32_t product = 0, sum = 0;
                for (int64_t i = first; i < first + 16; i++) {
                    int8_t q = x->q[(i / 4 * LANES + t) * 4 + i % 4];
                    product += (code[i] - w->bias) * q;
                    sum += q;
                }
                float x_scale = x->scale[first / Q8_GROUP * LANES + t];
                total += scale[first / w->group] * x_scale * (float)product;
                if (w->has_min)
                    total -= (w->group == FOLDED ? scale[first / FOLDED] : 1) * min[first / min_group] * x_scale * (float)sum;
            }
            out[t * out_stride + r] = total;
        }
    }
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
