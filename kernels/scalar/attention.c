/* Attention of the query heads that share one KV head. */
#include <float.h>
#include <math.h>
#include "../half.h"
#include "../kernels.h"

void fill_scalar_attention(struct kernels *table);

/* Element i of the keys or values of a KV head. */
static float element(const void *x, int is_f16, int64_t i)
{
    return is_f16 ? half_to_float(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

static float score(const float *q, int head_dim, struct kv_head kv, int64_t key, float scale)
{
    double sum = 0;
    for (int d = 0; d < head_dim; d++)
        sum += (double)q[d] * element(kv.k, kv.is_f16, key * head_dim + d);
    return (float)sum * scale;
}

/* One query head over keys first..last-1; p takes last - first numbers. */
static void attend_head(const float *q, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale, float *p, float *out)
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
            value += (double)p[key - first] * element(kv.v, kv.is_f16, key * head_dim + d);
        out[d] = (float)(value / sum);
    }
}

static void attend_one(const float *q, int n_head, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale,
                       float *scratch, float *out)
{
    for (int h = 0; h < n_head; h++)
        attend_head(q + h * head_dim, head_dim, kv, first, last, scale, scratch, out + h * head_dim);
}

/* The same with one pass over the keys and no memory for their weights: `out` is summed relative to the greatest score so far, and
 * scaled down whenever a greater one comes. */
static void attend_online(const float *q, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale, float *out)
{
    float max = -FLT_MAX, sum = 0;
    for (int d = 0; d < head_dim; d++)
        out[d] = 0;
    for (int64_t key = first; key < last; key++) {
        float s = score(q, head_dim, kv, key, scale);
        float new_max = fmaxf(max, s);
        float keep = expf(max - new_max), p = expf(s - new_max);
        for (int d = 0; d < head_dim; d++)
            out[d] = out[d] * keep + p * element(kv.v, kv.is_f16, key * head_dim + d);
        sum = sum * keep + p;
        max = new_max;
    }
    for (int d = 0; d < head_dim; d++)
        out[d] /= sum;
}

static void attend_tile(const float *q, int64_t q_stride, int n_tokens, int n_head, int head_dim, struct kv_head kv, int64_t pos0,
                        int64_t window, float scale, float *scratch, float *out, int64_t out_stride)
{
    (void)scratch;
    for (int t = 0; t < n_tokens; t++) {
        int64_t pos = pos0 + t;
        int64_t first = window > 0 && pos >= window ? pos - window + 1 : 0;
        for (int h = 0; h < n_head; h++)
            attend_online(q + t * q_stride + h * head_dim, head_dim, kv, first, pos + 1, scale, out + t * out_stride + h * head_dim);
    }
}

void fill_scalar_attention(struct kernels *table)
{
    table->attend_one = attend_one;
    table->attend_tile = attend_tile;
}
