/* Attention of one token: its query heads read the keys and values of their KV head together, since reading them is most of the work. A
 * block of keys is transposed once for all of them, so that keys lie in the lanes. */
#include <float.h>
#include <string.h>
#include "cpu/kernel_table.h"
#include "convert.h"
#include "exp.h"
#include "lanes.h"

/* Query heads and vectors of a head whose weighted sums are in registers. */
enum { SUM_HEADS = 4, SUM_VECTORS = 2 };
/* Query heads whose weights wait in scratch. */
enum { KEEP_HEADS = 16 };
enum { KEY_VECTORS = KV_BLOCK / VLANES };

/* The processor's own prefetch stops at each 4 KB page: keys and values are fetched a block ahead of use (twice the speed where they
 * come from memory). */

void FILL(attention_decode)(struct kernels *table);

/* Keys first .. first + n - 1, n at most KV_BLOCK, of which those from `visible` on are seen. */
struct block {
    const uint8_t *k, *v;
    int64_t bytes;            /* of a row */
    int n, visible;
};

/* keys[d][j] = element d of key j, zeros for j >= n. */
INLINE void transpose_keys(enum format format, const struct block *block, int head_dim, float (*keys)[KV_BLOCK])
{
    for (int j = 0; j < block->n; j += VLANES) {
        const uint8_t *rows = block->k + j * block->bytes;
        for (int r = 0; r < VLANES; r++)
            for (int64_t at = 0; at < block->bytes; at += 64)
                __builtin_prefetch(rows + (KV_BLOCK + r) * block->bytes + at);
        for (int d = 0; d < head_dim; d += VLANES) {
            vec square[VLANES];
            for (int r = 0; r < VLANES; r++)
                square[r] = j + r < block->n ? v_load_row(format, rows + r * block->bytes, d, 0, head_dim - d) : v_set(0);
            v_transpose(square);
            for (int i = 0; i < VLANES && d + i < head_dim; i++)
                v_store(keys[d + i] + j, square[i]);
        }
    }
}

/* scores[j] = scale * q . keys[j] for n_vectors vectors of keys, a constant, from vector v0 on; -infinity for keys that are not seen. */
INLINE void score(const struct block *block, const float *q, int head_dim, float scale, float (*keys)[KV_BLOCK], int v0, int n_vectors,
                  float *scores)
{
    vec sum[KEY_VECTORS];
    for (int v = 0; v < n_vectors; v++)
        sum[v] = v_set(0);
    for (int d = 0; d < head_dim; d++) {
        vec x = v_set(q[d] * scale);
        for (int v = 0; v < n_vectors; v++)
            sum[v] = v_fma(v_load(keys[d] + (v0 + v) * VLANES), x, sum[v]);
    }
    for (int v = 0; v < n_vectors; v++) {
        int at = (v0 + v) * VLANES;
        v_store(scores + at, v_keep_lanes(sum[v], clamp_lane(block->visible - at), clamp_lane(block->n - at)));
    }
}

/* Scores to weights, relative to the greatest so far, which is part[head_dim]; brings that and the sum of weights behind it up to date.
 * Returns what the weighted values so far must be multiplied by. */
static float weigh(float *scores, int n, int head_dim, float *part)
{
    float *max = part + head_dim, *sum = part + head_dim + 1;
    vec greatest = v_set(*max), total = v_set(0);
    for (int j = 0; j < n; j += VLANES)
        greatest = v_max(v_load(scores + j), greatest);
    float new_max = v_greatest(greatest);
    for (int j = 0; j < n; j += VLANES) {
        vec weight = v_exp(v_sub(v_load(scores + j), v_set(new_max)));
        v_store(scores + j, weight);
        total = v_add(total, weight);
    }
    float lanes[VLANES], keep[VLANES], sums[VLANES];
    v_store(keep, v_exp(v_sub(v_set(*max), v_set(new_max))));
    v_store(lanes, total);
    for (int half = VLANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    v_store(sums, v_fma(v_set(*sum), v_set(keep[0]), v_set(lanes[0])));
    *max = new_max;
    *sum = sums[0];
    return keep[0];
}

/* Weights of a block for some heads, [n_head][KV_BLOCK], and where their weighted values go. */
struct weighted {
    const float *weights, *keep;
    float *out;               /* [n_head] rows of split_row */
    int head_dim;
};

/* out = out * keep + the weighted sum of the values' elements d .. d + n - 1 (as many vectors as n_vectors), for heads head0 ..
 * head0 + n_head - 1; n_head and n_vectors are constants. */
INLINE void sum_values(enum format format, const struct block *block, const struct weighted *w, int head0, int n_head, int d, int n_vectors,
                       int n)
{
    vec sum[SUM_HEADS][SUM_VECTORS], value[SUM_VECTORS];
    for (int h = 0; h < n_head; h++)
        for (int c = 0; c < n_vectors; c++)
            sum[h][c] = v_set(0);
    for (int j = block->visible; j < block->n; j++) {
        __builtin_prefetch(block->v + (j + KV_BLOCK) * block->bytes + row_bytes(format, d));
        for (int c = 0; c < n_vectors; c++)
            value[c] = v_load_row(format, block->v + j * block->bytes, d, c, n - c * VLANES);
        for (int h = 0; h < n_head; h++) {
            vec weight = v_set(w->weights[(head0 + h) * KV_BLOCK + j]);
            for (int c = 0; c < n_vectors; c++)
                sum[h][c] = v_fma(weight, value[c], sum[h][c]);
        }
    }
    for (int h = 0; h < n_head; h++)
        for (int c = 0; c < n_vectors; c++) {
            float *p = w->out + (head0 + h) * split_row(w->head_dim) + d + c * VLANES;
            v_store_n(p, n - c * VLANES, v_fma(v_load_n(p, n - c * VLANES), v_set(w->keep[head0 + h]), sum[h][c]));
        }
}

INLINE void sum_heads(enum format format, const struct block *block, const struct weighted *w, int head0, int n_head)
{
    int d = 0;
    for (; d + SUM_VECTORS * VLANES <= w->head_dim; d += SUM_VECTORS * VLANES)
        sum_values(format, block, w, head0, n_head, d, SUM_VECTORS, SUM_VECTORS * VLANES);
    for (; d < w->head_dim; d += VLANES)
        sum_values(format, block, w, head0, n_head, d, 1, w->head_dim - d);
}

INLINE void attend_block(enum format format, const struct block *block, const float *q, int n_head, int head_dim, float scale,
                         float (*keys)[KV_BLOCK], float *weights, float *part)
{
    float keep[KEEP_HEADS];
    transpose_keys(format, block, head_dim, keys);
    for (int h0 = 0; h0 < n_head; h0 += KEEP_HEADS) {
        int n = n_head - h0 < KEEP_HEADS ? n_head - h0 : KEEP_HEADS, n_vectors = (block->n + VLANES - 1) / VLANES;
        float *first = part + h0 * split_row(head_dim);
        for (int h = 0; h < n; h++) {
            float *scores = weights + h * KV_BLOCK;
            if (n_vectors == KEY_VECTORS)
                score(block, q + (h0 + h) * head_dim, head_dim, scale, keys, 0, KEY_VECTORS, scores);
            else
                for (int v = 0; v < n_vectors; v++)
                    score(block, q + (h0 + h) * head_dim, head_dim, scale, keys, v, 1, scores);
            keep[h] = weigh(scores, n_vectors * VLANES, head_dim, first + h * split_row(head_dim));
        }
        struct weighted w = {weights, keep, first, head_dim};
        for (int h = 0; h < n; h += SUM_HEADS)
            switch (n - h) {
            case 1: sum_heads(format, block, &w, h, 1); break;
            case 2: sum_heads(format, block, &w, h, 2); break;
            case 3: sum_heads(format, block, &w, h, 3); break;
            default: sum_heads(format, block, &w, h, SUM_HEADS);
            }
    }
}

static void attention_decode(const float *q, int n_head, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale,
                       float *scratch, float *part)
{
    const int64_t bytes = padded_row_bytes(kv.format, head_dim);
    float (*keys)[KV_BLOCK] = (void *)scratch, *weights = scratch + (int64_t)head_dim * KV_BLOCK;
    for (int h = 0; h < n_head; h++) {
        float *row = part + h * split_row(head_dim);
        memset(row, 0, split_row(head_dim) * sizeof *row);
        row[head_dim] = -FLT_MAX;
    }
    for (int64_t from = first / KV_BLOCK * KV_BLOCK; from < last && first < last; from += KV_BLOCK) {
        struct block block = {(const uint8_t *)kv.k + from * bytes, (const uint8_t *)kv.v + from * bytes, bytes,
                              last - from < KV_BLOCK ? (int)(last - from) : KV_BLOCK, from < first ? (int)(first - from) : 0};
        switch (kv.format) {
        case FORMAT_F16: attend_block(FORMAT_F16, &block, q, n_head, head_dim, scale, keys, weights, part); break;
        case FORMAT_Q8_0: attend_block(FORMAT_Q8_0, &block, q, n_head, head_dim, scale, keys, weights, part); break;
        default: attend_block(FORMAT_F32, &block, q, n_head, head_dim, scale, keys, weights, part);
        }
    }
}

static void merge_split(const float *split, int n_head, int head_dim, float *total)
{
    const int64_t row = split_row(head_dim);
    for (int h = 0; h < n_head; h++, split += row, total += row) {
        vec old = v_set(total[head_dim]), new = v_set(split[head_dim]), max = v_max(old, new);
        vec a = v_exp(v_sub(old, max)), b = v_exp(v_sub(new, max));
        for (int d = 0; d < head_dim; d += VLANES)
            v_store_n(total + d, head_dim - d, v_fma(v_load_n(total + d, head_dim - d), a, v_mul(v_load_n(split + d, head_dim - d), b)));
        v_store_n(total + head_dim, 1, max);
        v_store_n(total + head_dim + 1, 1, v_fma(v_set(total[head_dim + 1]), a, v_mul(v_set(split[head_dim + 1]), b)));
    }
}

static void finish_attention(const float *total, int n_head, int head_dim, float *out)
{
    for (int h = 0; h < n_head; h++, total += split_row(head_dim), out += head_dim)
        for (int d = 0; d < head_dim; d += VLANES)
            v_store_n(out + d, head_dim - d, v_div(v_load_n(total + d, head_dim - d), v_set(total[head_dim + 1])));
}

void FILL(attention_decode)(struct kernels *table)
{
    table->attention_decode = attention_decode;
    table->merge_split = merge_split;
    table->finish_attention = finish_attention;
}
