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

static float score(const float *q, int head_dim, struct kv_head kv, int64_t key, float scale, float softcap)
{
    double sum = 0;
    for (int d = 0; d < head_dim; d++)
        sum += (double)q[d] * element(kv.k, kv.format, head_dim, key, d);
    float x = (float)sum * scale;
    return softcap > 0 ? softcap * tanhf(x / softcap) : x;
}

/* One query head over keys first .. last - 1, block by block, relative to the greatest score so far. */
static void attend_head(const float *q, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale, float softcap,
                        float *part)
{
    float *max = part + head_dim, *sum = part + head_dim + 1;
    for (int d = 0; d < head_dim; d++)
        part[d] = 0;
    *max = -FLT_MAX;                                        /* see max_sum_exp */
    *sum = 0;
    for (int64_t end; first < last; first = end) {
        end = (first / KV_BLOCK + 1) * KV_BLOCK < last ? (first / KV_BLOCK + 1) * KV_BLOCK : last;
        float p[KV_BLOCK], new_max = *max;
        for (int64_t key = first; key < end; key++) {
            p[key - first] = score(q, head_dim, kv, key, scale, softcap);
            new_max = fmaxf(new_max, p[key - first]);
        }
        double keep = expf(*max - new_max), total = 0;
        for (int64_t i = 0; i < end - first; i++) {
            p[i] = expf(p[i] - new_max);
            total += p[i];
        }
        for (int d = 0; d < head_dim; d++) {
            double value = 0;
            for (int64_t key = first; key < end; key++)
                value += (double)p[key - first] * element(kv.v, kv.format, head_dim, key, d);
            part[d] = (float)(part[d] * keep + value);
        }
        *max = new_max;
        *sum = (float)(*sum * keep + total);
    }
}

static void attention_decode(const float *q, int n_head, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale,
                       float softcap, float *scratch, float *part)
{
    for (int h = 0; h < n_head; h++)
        attend_head(q + h * head_dim, head_dim, kv, first, last, scale, softcap, part + h * split_row(head_dim));
}

static void attention_prefill(const float *q, int64_t q_stride, int n_tokens, int n_head, int head_dim, struct kv_head kv, int64_t pos0,
                        int64_t window, int64_t first, int64_t last, float scale, float softcap, float *scratch, float *part)
{
    for (int t = 0; t < n_tokens; t++) {
        int64_t pos = pos0 + t, to = pos + 1 < last ? pos + 1 : last;
        int64_t from = window > 0 && pos - window >= first ? pos - window + 1 : first;
        for (int h = 0; h < n_head; h++, part += split_row(head_dim))
            attend_head(q + t * q_stride + h * head_dim, head_dim, kv, from, to, scale, softcap, part);
    }
}

static void merge_split(const float *split, int n_head, int head_dim, float *total)
{
    for (int h = 0; h < n_head; h++, split += split_row(head_dim), total += split_row(head_dim)) {
        float max = fmaxf(total[head_dim], split[head_dim]);
        double a = expf(total[head_dim] - max), b = expf(split[head_dim] - max);
        for (int d = 0; d < head_dim; d++)
            total[d] = (float)(total[d] * a + split[d] * b);
        total[head_dim + 1] = (float)(total[head_dim + 1] * a + split[head_dim + 1] * b);
        total[head_dim] = max;
    }
}

static void finish_attention(const float *total, int n_head, int head_dim, float *out)
{
    for (int h = 0; h < n_head; h++, total += split_row(head_dim), out += head_dim)
        for (int d = 0; d < head_dim; d++)
            out[d] = total[d] / total[head_dim + 1];
}

void fill_scalar_attention(struct kernels *table)
{
    table->attention_decode = attention_decode;
    table->attention_prefill = attention_prefill;
    table->merge_split = merge_split;
    table->finish_attention = finish_attention;
}
