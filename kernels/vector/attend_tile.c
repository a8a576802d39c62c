/* Attention of a tile of tokens: queries in the lanes, an online softmax over blocks of keys, each lane on its own.
 *
 *     scores[key][t] = K . q          weights = exp(scores - max so far)          out[d][t] = out[d][t] * keep + V^T . weights
 *
 * Keys and values of a block are made float once for all query heads that share them. Blocks start at the first key that the first token
 * sees and end at the last one that the last token sees, so work is proportional to visible keys. */
#include <float.h>
#include "../kernels.h"
#include "convert.h"
#include "exp.h"
#include "product.h"
#include "transpose.h"

void FILL(attend_tile)(struct kernels *table);

/* One query head in scratch, all of it in tiles of VLANES tokens. */
struct head {
    float *q;         /* [head_dim][VLANES], times the scale */
    float *out;       /* [head_dim][VLANES] */
    float *max;       /* [VLANES]: greatest score so far, at least -FLT_MAX, so that -infinity - max is never NaN */
    float *sum;       /* [VLANES]: of the weights, relative to max */
};

/* Keys first..first + n - 1, of which token t sees those in visible_from + t .. visible_to + t. */
struct block {
    const float *k, *v;
    int64_t first, visible_from, visible_to;
    int n;
};

static struct head head_at(float *scratch, int h, int head_dim)
{
    int64_t tile = (int64_t)head_dim * VLANES;
    float *p = scratch + h * (2 * tile + 2 * VLANES);
    return (struct head){p, p + tile, p + 2 * tile, p + 2 * tile + VLANES};
}

static void start(struct head head, const float *q, int64_t q_stride, int n_tokens, int head_dim, float scale)
{
    to_tile(q, q_stride, n_tokens, head_dim, head.q);
    for (int64_t i = 0; i < head_dim * VLANES; i += VLANES) {
        v_store(head.q + i, v_mul(v_load(head.q + i), v_set(scale)));
        v_store(head.out + i, v_set(0));
    }
    v_store(head.max, v_set(-FLT_MAX));
    v_store(head.sum, v_set(0));
}

static void score(struct head head, const struct block *block, int head_dim, float *scores)
{
    product(block->k, head_dim, 1, block->n, head_dim, head.q, scores);
}

static int clamp_lane(int64_t t)
{
    return t < 0 ? 0 : t > VLANES ? VLANES : (int)t;
}

/* -infinity where a token does not see a key. */
static void mask(const struct block *block, int n_tokens, float *scores)
{
    int64_t last = block->first + block->n - 1;
    if (block->first >= block->visible_from + n_tokens - 1 && last <= block->visible_to)
        return;
    for (int j = 0; j < block->n; j++) {
        int64_t key = block->first + j;
        int from = clamp_lane(key - block->visible_to), to = clamp_lane(key - block->visible_from + 1);
        v_store(scores + j * VLANES, v_keep_lanes(v_load(scores + j * VLANES), from, to));
    }
}

/* Scores to weights; returns what the sums so far must be multiplied by. */
static vec weigh(struct head head, int n, float *scores)
{
    vec old = v_load(head.max), even = old, odd = old;
    for (int j = 0; j < n; j += 2) {
        even = v_max(v_load(scores + j * VLANES), even);
        odd = v_max(v_load(scores + (j + 1 < n ? j + 1 : j) * VLANES), odd);
    }
    vec max = v_max(even, odd), keep = v_exp(v_sub(old, max)), sum = v_set(0);
    for (int j = 0; j < n; j++) {
        vec weight = v_exp(v_sub(v_load(scores + j * VLANES), max));
        v_store(scores + j * VLANES, weight);
        sum = v_add(sum, weight);
    }
    v_store(head.max, max);
    v_store(head.sum, v_fma(v_load(head.sum), keep, sum));
    return keep;
}

static void add_values(struct head head, const struct block *block, int head_dim, const float *weights, vec keep)
{
    for (int d = 0; d < head_dim; d += PRODUCT_ROWS) {
        float sums[PRODUCT_ROWS * VLANES];
        int n = head_dim - d < PRODUCT_ROWS ? head_dim - d : PRODUCT_ROWS;
        product(block->v + d, 1, head_dim, n, block->n, weights, sums);
        for (int r = 0; r < n; r++) {
            float *out = head.out + (d + r) * VLANES;
            v_store(out, v_fma(v_load(out), keep, v_load(sums + r * VLANES)));
        }
    }
}

static void finish(struct head head, int n_tokens, int head_dim, float *out, int64_t out_stride)
{
    vec sum = v_load(head.sum);
    for (int64_t i = 0; i < head_dim * VLANES; i += VLANES)
        v_store(head.out + i, v_div(v_load(head.out + i), sum));
    from_tile(head.out, head_dim, n_tokens, out, out_stride);
}

/* n rows as floats: those of the cache where they are floats already, else converted into `space`. */
static const float *rows_as_float(const void *rows, int is_f16, int64_t first, int n, int head_dim, float *space)
{
    if (!is_f16)
        return (const float *)rows + first * head_dim;
    halves_to_floats((const uint16_t *)rows + first * head_dim, (int64_t)n * head_dim, space);
    return space;
}

static void attend_tile(const float *q, int64_t q_stride, int n_tokens, int n_head, int head_dim, struct kv_head kv, int64_t pos0,
                        int64_t window, float scale, float *scratch, float *out, int64_t out_stride)
{
    float *scores = scratch + n_head * (2 * (int64_t)head_dim * VLANES + 2 * VLANES);
    float *k_space = scores + KV_BLOCK * VLANES, *v_space = k_space + KV_BLOCK * head_dim;
    int64_t from = window ? pos0 - window + 1 : 0, last = pos0 + n_tokens;
    struct block block = {.visible_from = window ? from : INT64_MIN / 2, .visible_to = pos0};

    for (int h = 0; h < n_head; h++)
        start(head_at(scratch, h, head_dim), q + h * head_dim, q_stride, n_tokens, head_dim, scale);
    for (block.first = from > 0 ? from : 0; block.first < last; block.first += KV_BLOCK) {
        block.n = last - block.first < KV_BLOCK ? (int)(last - block.first) : KV_BLOCK;
        block.k = rows_as_float(kv.k, kv.is_f16, block.first, block.n, head_dim, k_space);
        block.v = rows_as_float(kv.v, kv.is_f16, block.first, block.n, head_dim, v_space);
        for (int h = 0; h < n_head; h++) {
            struct head head = head_at(scratch, h, head_dim);
            score(head, &block, head_dim, scores);
            mask(&block, n_tokens, scores);
            vec keep = weigh(head, block.n, scores);
            add_values(head, &block, head_dim, scores, keep);
        }
    }
    for (int h = 0; h < n_head; h++)
        finish(head_at(scratch, h, head_dim), n_tokens, head_dim, out + h * head_dim, out_stride);
}

void FILL(attend_tile)(struct kernels *table)
{
    table->attend_tile = attend_tile;
}
