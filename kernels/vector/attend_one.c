/* Attention of one token: its query heads read the keys and values of their KV head together, since reading them is most of the work. */
#include <float.h>
#include <string.h>
#include "../kernels.h"
#include "dot.h"
#include "exp.h"

/* Query heads that meet four keys at once: as many as the registers have room for. */
enum { SCORE_HEADS = V_REGISTERS / 8 };
/* Query heads and vectors of a head whose weighted sums are in registers. */
enum { SUM_HEADS = 4, SUM_VECTORS = 2 };
/* Query heads for which keys and values are read once; more take a pass for each so many. */
enum { GROUP_HEADS = 16 };

void FILL(attend_one)(struct kernels *table);

/* scores[h * n_keys + j] = q[h] . keys[j] for n_head heads, a constant. */
INLINE void score_heads(enum format format, const uint8_t *keys, int64_t n_keys, const float *q, int n_head, int head_dim,
                        float *scores)
{
    vec sums[DOT_ROWS * DOT_VECTORS];
    int64_t bytes = row_bytes(format, head_dim), j = 0;
    for (; j + DOT_ROWS <= n_keys; j += DOT_ROWS) {
        dots(format, keys + j * bytes, DOT_ROWS, head_dim, q, n_head, 0, sums);
        for (int h = 0; h < n_head; h++)
            v_sum4(sums + DOT_ROWS * h, scores + h * n_keys + j);
    }
    for (; j < n_keys; j++) {
        dots(format, keys + j * bytes, 1, head_dim, q, n_head, 0, sums);
        for (int h = 0; h < n_head; h++)
            scores[h * n_keys + j] = v_sum(sums[h]);
    }
}

INLINE void score(enum format format, const uint8_t *keys, int64_t n_keys, const float *q, int n_head, int head_dim,
                  float *scores)
{
    for (int h = 0; h < n_head; h += SCORE_HEADS, q += SCORE_HEADS * head_dim, scores += SCORE_HEADS * n_keys)
        switch (n_head - h < SCORE_HEADS ? n_head - h : SCORE_HEADS) {
        case 1: score_heads(format, keys, n_keys, q, 1, head_dim, scores); break;
        case 2: score_heads(format, keys, n_keys, q, 2, head_dim, scores); break;
        case 3: score_heads(format, keys, n_keys, q, 3, head_dim, scores); break;
        default: score_heads(format, keys, n_keys, q, SCORE_HEADS, head_dim, scores);
        }
}

/* Turns n scores to exp(scale * score - their maximum); returns the sum. */
static double weigh(float *scores, int64_t n, float scale)
{
    vec greatest = v_set(-FLT_MAX), factor = v_set(scale);
    for (int64_t i = 0; i < n; i += VLANES) {
        vec scaled = v_mul(v_load_n(scores + i, n - i), factor);
        v_store_n(scores + i, n - i, scaled);
        greatest = v_max(v_load_scores(scores + i, n - i), greatest);
    }
    vec max = v_set(v_greatest(greatest));
    wide sum = w_zero();
    for (int64_t i = 0; i < n; i += VLANES) {
        vec weight = v_exp(v_sub(v_load_scores(scores + i, n - i), max));
        v_store_n(scores + i, n - i, weight);
        sum = w_fma(weight, v_set(1.0f), sum);
    }
    return w_sum(sum);
}

/* out[h * head_dim + d] += the sum over j of weights[h * stride + j] * values[j * head_dim + d], for n elements d (as many vectors as
 * n_vectors) of n_head heads; n_head and n_vectors are constants. */
INLINE void sum_values(enum format format, const void *values, int64_t n_keys, const float *weights, int64_t stride, int n_head,
                       int n_vectors, int n, int head_dim, float *out)
{
    vec sum[SUM_HEADS][SUM_VECTORS], value[SUM_VECTORS];
    for (int h = 0; h < n_head; h++)
        for (int c = 0; c < n_vectors; c++)
            sum[h][c] = v_set(0);
    for (int64_t j = 0; j < n_keys; j++) {
        for (int c = 0; c < n_vectors; c++)
            value[c] = v_load_as(format, values, j * head_dim + c * VLANES, n - c * VLANES);
        for (int h = 0; h < n_head; h++) {
            vec weight = v_set(weights[h * stride + j]);
            for (int c = 0; c < n_vectors; c++)
                sum[h][c] = v_fma(weight, value[c], sum[h][c]);
        }
    }
    for (int h = 0; h < n_head; h++)
        for (int c = 0; c < n_vectors; c++) {
            float *p = out + h * head_dim + c * VLANES;
            v_store_n(p, n - c * VLANES, v_add(v_load_n(p, n - c * VLANES), sum[h][c]));
        }
}

INLINE void sum_heads(enum format format, const void *values, int64_t n_keys, const float *weights, int64_t stride, int n_head,
                      int head_dim, float *out)
{
    const uint8_t *v = values;
    int d = 0;
    for (; d + SUM_VECTORS * VLANES <= head_dim; d += SUM_VECTORS * VLANES)
        sum_values(format, v + row_bytes(format, d), n_keys, weights, stride, n_head, SUM_VECTORS, SUM_VECTORS * VLANES, head_dim, out + d);
    for (; d < head_dim; d += VLANES)
        sum_values(format, v + row_bytes(format, d), n_keys, weights, stride, n_head, 1, head_dim - d, head_dim, out + d);
}

/* Adds the weighted values of all keys to out, a block of keys at a time: it stays in the cache for all heads, and short sums keep
 * their digits. */
INLINE void add_values(enum format format, const void *values, int64_t n_keys, const float *weights, int n_head, int head_dim, float *out)
{
    for (int64_t j = 0; j < n_keys; j += KV_BLOCK) {
        const uint8_t *block = (const uint8_t *)values + j * row_bytes(format, head_dim);
        int64_t n = n_keys - j < KV_BLOCK ? n_keys - j : KV_BLOCK;
        for (int h = 0; h < n_head; h += SUM_HEADS) {
            const float *w = weights + h * n_keys + j;
            float *o = out + h * head_dim;
            switch (n_head - h) {
            case 1: sum_heads(format, block, n, w, n_keys, 1, head_dim, o); break;
            case 2: sum_heads(format, block, n, w, n_keys, 2, head_dim, o); break;
            case 3: sum_heads(format, block, n, w, n_keys, 3, head_dim, o); break;
            default: sum_heads(format, block, n, w, n_keys, SUM_HEADS, head_dim, o);
            }
        }
    }
}

/* At most GROUP_HEADS heads over n_keys keys. */
INLINE void attend(enum format format, const float *q, int n_head, int head_dim, const void *keys, const void *values, int64_t n_keys,
                   float scale, float *weights, float *out)
{
    double sum[GROUP_HEADS];
    score(format, keys, n_keys, q, n_head, head_dim, weights);
    for (int h = 0; h < n_head; h++)
        sum[h] = weigh(weights + h * n_keys, n_keys, scale);
    memset(out, 0, (size_t)n_head * head_dim * sizeof *out);
    add_values(format, values, n_keys, weights, n_head, head_dim, out);
    for (int h = 0; h < n_head; h++)
        for (int d = 0; d < head_dim; d++)
            out[h * head_dim + d] = (float)(out[h * head_dim + d] / sum[h]);
}

static void attend_one(const float *q, int n_head, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale,
                       float *scratch, float *out)
{
    int64_t start = row_bytes(kv.is_f16 ? FORMAT_F16 : FORMAT_F32, first * head_dim);
    const uint8_t *keys = (const uint8_t *)kv.k + start, *values = (const uint8_t *)kv.v + start;
    for (int h = 0; h < n_head; h += GROUP_HEADS, q += GROUP_HEADS * head_dim, out += GROUP_HEADS * head_dim) {
        int n = n_head - h < GROUP_HEADS ? n_head - h : GROUP_HEADS;
        if (kv.is_f16)
            attend(FORMAT_F16, q, n, head_dim, keys, values, last - first, scale, scratch, out);
        else
            attend(FORMAT_F32, q, n, head_dim, keys, values, last - first, scale, scratch, out);
    }
}

void FILL(attend_one)(struct kernels *table)
{
    table->attend_one = attend_one;
}
