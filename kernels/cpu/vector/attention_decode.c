/* Attention of one token: its query heads read the keys and values of their KV head together, since reading them is most of the work. */
#include <float.h>
#include <string.h>
#include "cpu/kernel_table.h"
#include "dot.h"
#include "exp.h"

/* Query heads that meet four keys at once: as many as the registers have room for. */
enum { SCORE_HEADS = V_REGISTERS / 8 };
/* Query heads and vectors of a head whose weighted sums are in registers. */
enum { SUM_HEADS = 4, SUM_VECTORS = 2 };
/* Query heads for which keys and values are read once; more take a pass for each so many. */
enum { GROUP_HEADS = 16 };

/* The processor's own prefetch stops at each 4 KB page: keys are fetched so many bytes ahead of use, values a block (twice the speed where
 * they come from memory). */
enum { KEYS_AHEAD = 4096 };

void FILL(attention_decode)(struct kernels *table);

/* scores[h * n_keys + j] = q[h] . keys[j] for n_head heads, a constant. */
INLINE void score_heads(enum format format, const uint8_t *keys, int64_t n_keys, const float *q, int n_head, int head_dim,
                        float *scores)
{
    vec sums[DOT_ROWS * DOT_VECTORS];
    int64_t bytes = padded_row_bytes(format, head_dim), j = 0;
    for (; j + DOT_ROWS <= n_keys; j += DOT_ROWS) {
        dots(format, keys + j * bytes, DOT_ROWS, head_dim, q, n_head, KEYS_AHEAD, sums);
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
static double weigh(float *scores, int64_t n, float scale, float *max_score)
{
    vec greatest = v_set(-FLT_MAX), factor = v_set(scale);
    for (int64_t i = 0; i < n; i += VLANES) {
        vec scaled = v_mul(v_load_n(scores + i, n - i), factor);
        v_store_n(scores + i, n - i, scaled);
        greatest = v_max(v_load_scores(scores + i, n - i), greatest);
    }
    *max_score = v_greatest(greatest);
    vec max = v_set(*max_score);
    wide sum = w_zero();
    for (int64_t i = 0; i < n; i += VLANES) {
        vec weight = v_exp(v_sub(v_load_scores(scores + i, n - i), max));
        v_store_n(scores + i, n - i, weight);
        sum = w_fma(weight, v_set(1.0f), sum);
    }
    return w_sum(sum);
}

/* Rows of values, `bytes` apart, and for each head of `out` the weights of n_keys of them. */
struct weighted {
    const uint8_t *values;
    int64_t bytes, n_keys;
    const float *weights;     /* [n_head] rows, weight_stride apart */
    int64_t weight_stride;
    int head_dim;
    float *out;               /* [n_head] rows, out_stride apart */
    int64_t out_stride;
};

/* Adds the weighted sum of the values' elements d .. d + n - 1 (as many vectors as n_vectors) to heads head0 .. head0 + n_head - 1;
 * n_head and n_vectors are constants. */
INLINE void sum_values(enum format format, const struct weighted *w, int head0, int n_head, int d, int n_vectors, int n)
{
    vec sum[SUM_HEADS][SUM_VECTORS], value[SUM_VECTORS];
    for (int h = 0; h < n_head; h++)
        for (int c = 0; c < n_vectors; c++)
            sum[h][c] = v_set(0);
    const float *weights = w->weights + head0 * w->weight_stride;
    for (int64_t j = 0; j < w->n_keys; j++) {
        __builtin_prefetch(w->values + (j + KV_BLOCK) * w->bytes + row_bytes(format, d));
        for (int c = 0; c < n_vectors; c++)
            value[c] = v_load_row(format, w->values + j * w->bytes, d, c, n - c * VLANES);
        for (int h = 0; h < n_head; h++) {
            vec weight = v_set(weights[h * w->weight_stride + j]);
            for (int c = 0; c < n_vectors; c++)
                sum[h][c] = v_fma(weight, value[c], sum[h][c]);
        }
    }
    for (int h = 0; h < n_head; h++)
        for (int c = 0; c < n_vectors; c++) {
            float *p = w->out + (head0 + h) * w->out_stride + d + c * VLANES;
            v_store_n(p, n - c * VLANES, v_add(v_load_n(p, n - c * VLANES), sum[h][c]));
        }
}

INLINE void sum_heads(enum format format, const struct weighted *w, int head0, int n_head)
{
    int d = 0;
    for (; d + SUM_VECTORS * VLANES <= w->head_dim; d += SUM_VECTORS * VLANES)
        sum_values(format, w, head0, n_head, d, SUM_VECTORS, SUM_VECTORS * VLANES);
    for (; d < w->head_dim; d += VLANES)
        sum_values(format, w, head0, n_head, d, 1, w->head_dim - d);
}

/* Adds the weighted values of all keys to out, a block of keys at a time: it stays in the cache for all heads, and short sums keep
 * their digits. */
INLINE void add_values(enum format format, struct weighted w, int n_head)
{
    for (int64_t left = w.n_keys; left > 0; left -= KV_BLOCK, w.values += KV_BLOCK * w.bytes, w.weights += KV_BLOCK) {
        w.n_keys = left < KV_BLOCK ? left : KV_BLOCK;
        for (int h = 0; h < n_head; h += SUM_HEADS)
            switch (n_head - h) {
            case 1: sum_heads(format, &w, h, 1); break;
            case 2: sum_heads(format, &w, h, 2); break;
            case 3: sum_heads(format, &w, h, 3); break;
            default: sum_heads(format, &w, h, SUM_HEADS);
            }
    }
}

/* At most GROUP_HEADS heads over n_keys keys. */
INLINE void attend(enum format format, const float *q, int n_head, int head_dim, const uint8_t *keys, const uint8_t *values,
                   int64_t n_keys, float scale, float *weights, float *part)
{
    int64_t row = split_row(head_dim);
    score(format, keys, n_keys, q, n_head, head_dim, weights);
    for (int h = 0; h < n_head; h++) {
        float *out = part + h * row;
        memset(out, 0, head_dim * sizeof *out);
        out[head_dim + 1] = (float)weigh(weights + h * n_keys, n_keys, scale, out + head_dim);
    }
    struct weighted w = {values, padded_row_bytes(format, head_dim), n_keys, weights, n_keys, head_dim, part, row};
    add_values(format, w, n_head);
}

static void attention_decode(const float *q, int n_head, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale,
                       float *scratch, float *part)
{
    int64_t start = first * padded_row_bytes(kv.format, head_dim);
    const uint8_t *keys = (const uint8_t *)kv.k + start, *values = (const uint8_t *)kv.v + start;
    for (int h = 0; h < n_head; h += GROUP_HEADS, q += GROUP_HEADS * head_dim, part += GROUP_HEADS * split_row(head_dim)) {
        int n = n_head - h < GROUP_HEADS ? n_head - h : GROUP_HEADS;
        switch (kv.format) {
        case FORMAT_F16: attend(FORMAT_F16, q, n, head_dim, keys, values, last - first, scale, scratch, part); break;
        case FORMAT_Q8_0: attend(FORMAT_Q8_0, q, n, head_dim, keys, values, last - first, scale, scratch, part); break;
        default: attend(FORMAT_F32, q, n, head_dim, keys, values, last - first, scale, scratch, part);
        }
    }
}

/* Attention once more: parts are the values, weighed by what their greatest scores leave of them. */
static void combine_splits(const float *part, int64_t part_stride, int n_parts, int n_head, int head_dim, float *out)
{
    for (int h = 0; h < n_head; h++, part += split_row(head_dim), out += head_dim) {
        float weights[MAX_SPLITS], max;
        double sum = 0;
        for (int p = 0; p < n_parts; p++)
            weights[p] = part[p * part_stride + head_dim];
        weigh(weights, n_parts, 1, &max);
        for (int p = 0; p < n_parts; p++)
            sum += (double)weights[p] * part[p * part_stride + head_dim + 1];
        memset(out, 0, head_dim * sizeof *out);
        struct weighted w = {(const uint8_t *)part, part_stride * (int64_t)sizeof *part, n_parts, weights, 0, head_dim, out, 0};
        add_values(FORMAT_F32, w, 1);
        for (int d = 0; d < head_dim; d++)
            out[d] = (float)(out[d] / sum);
    }
}

void FILL(attention_decode)(struct kernels *table)
{
    table->attention_decode = attention_decode;
    table->combine_splits = combine_splits;
}
