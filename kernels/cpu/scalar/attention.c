/* Attention of the query heads that share one KV head. */
#include <float.h>
#include <math.h>
#include "formats/blocks.h"
#include "formats/half.h"
#include "cpu/kernel_table.h"


/* Element d of a key's row in the keys or values of a KV head. */
static float element(const void *rows, enum format format, int head_dim, int64_t key, int d)
{
    const uint8_t *row = (const uint8_t *)rows + key * padded_row_bytes(format, head_dim);
    if (format == FORMAT_F16)
        return half_to_float(((const uint16_t *)row)[d]);
    if (format == FORMAT_Q8_0) {
        const struct block_Q8_0 *block = (const struct block_Q8_0 *)row + d / 32;
        return half_to_float(block->d) * block->qs[d % 32];
    }
    return ((const float *)row)[d];
}

static float score(const float *q, int head_dim, struct kv_head kv, int64_t key, float scale)
{
    double sum = 0;
    for (int d = 0; d < head_dim; d++)
        sum += (double)q[d] * element(kv.k, kv.format, head_dim, key, d);
    return (float)sum * scale;
}

/* One query head over keys first..last-1; p takes last - first numbers. */
static void attend_head(const float *q, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale, float *p, float *part)
{
    float max = -FLT_MAX;                                   /* see max_sum_exp */
    for (int64_t key = first; key < last; key++) {
        p[key - first] = score(q, head_dim, kv, key, scale);
        max = fmaxf(max, p[key - first]);
    }
    double sum = 0;
    for (int64_t i = 0; i < last - first; i++) {
        p[i] = expf(p[i] - max);
        sum += p[i];
    }
    for (int d = 0; d < head_dim; d++) {
        double value = 0;
        for (int64_t key = first; key < last; key++)
            value += (double)p[key - first] * element(kv.v, kv.format, head_dim, key, d);
        part[d] = (float)value;
    }
    part[head_dim] = max;
    part[head_dim + 1] = (float)sum;
}

static void attention_decode(const float *q, int n_head, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale,
                       float *scratch, float *part)
{
    for (int h = 0; h < n_head; h++)
        attend_head(q + h * head_dim, head_dim, kv, first, last, scale, scratch, part + h * split_row(head_dim));
}

/* The same with one pass over the keys and no memory for their weights: the part is summed relative to the greatest score so far, and
 * scaled down whenever a greater one comes. */
static void attend_online(const float *q, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale, float *part)
{
    float max = -FLT_MAX, sum = 0;
    for (int d = 0; d < head_dim; d++)
        part[d] = 0;
    for (int64_t key = first; key < last; key++) {
        float s = score(q, head_dim, kv, key, scale);
        float new_max = fmaxf(max, s);
        float keep = expf(max - new_max), p = expf(s - new_max);
        for (int d = 0; d < head_dim; d++)
            part[d] = part[d] * keep + p * element(kv.v, kv.format, head_dim, key, d);
        sum = sum * keep + p;
        max = new_max;
    }
    part[head_dim] = max;
    part[head_dim + 1] = sum;
}

static void attention_prefill(const float *q, int64_t q_stride, int n_tokens, int n_head, int head_dim, struct kv_head kv, int64_t pos0,
                        int64_t window, int64_t first, int64_t last, float scale, float *scratch, float *part)
{
    (void)scratch;
    for (int t = 0; t < n_tokens; t++) {
        int64_t pos = pos0 + t, to = pos + 1 < last ? pos + 1 : last;
        int64_t from = window > 0 && pos - window >= first ? pos - window + 1 : first;
        for (int h = 0; h < n_head; h++, part += split_row(head_dim))
            attend_online(q + t * q_stride + h * head_dim, head_dim, kv, from, to, scale, part);
    }
}

static void combine_splits(const float *part, int64_t part_stride, int n_parts, int n_head, int head_dim, float *out)
{
    for (int h = 0; h < n_head; h++, part += split_row(head_dim), out += head_dim) {
        float max = -FLT_MAX;
        for (int p = 0; p < n_parts; p++)
            max = fmaxf(max, part[p * part_stride + head_dim]);
        for (int d = 0; d < head_dim; d++) {
            double value = 0, sum = 0;
            for (int p = 0; p < n_parts; p++) {
                const float *row = part + p * part_stride;
                double weight = expf(row[head_dim] - max);
                value += weight * row[d];
                sum += weight * row[head_dim + 1];
            }
            out[d] = (float)(value / sum);
        }
    }
}

void fill_scalar_attention(struct kernels *table)
{
    table->attention_decode = attention_decode;
    table->attention_prefill = attention_prefill;
    table->combine_splits = combine_splits;
}
