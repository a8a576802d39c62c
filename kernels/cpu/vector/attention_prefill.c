/* Attention of a tile of tokens: queries in the lanes, an online softmax over blocks of keys, each lane on its own.
 *
 *     scores[key][t] = K . q          weights = exp(scores - max so far)          out[d][t] = out[d][t] * keep + V^T . weights
 *
 * Keys and values of a block are made float once for all query heads that share them. */
#include <float.h>
#include "cpu/kernel_table.h"
#include "convert.h"
#include "exp.h"
#include "lanes.h"
#include "product.h"
#include "transpose.h"

void FILL(attention_prefill)(struct kernels *table);

/* One query head in scratch, all of it in tiles of VLANES tokens. */
struct head {
    float *q;         /* [head_dim][VLANES], times the scale */
    float *out;       /* [head_dim][VLANES] */
    float *max;       /* [VLANES]: greatest score so far, at least -FLT_MAX, so that -infinity - max is never NaN */
    float *sum;       /* [VLANES]: of the weights, relative to max */
};

/* Keys first..first + n - 1, of which token t sees those in visible_from + t .. visible_to + t, but none before `start`. */
struct block {
    const float *k, *v;
    int64_t first, start, visible_from, visible_to;
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

/* -infinity where a token does not see a key. */
static void mask(const struct block *block, int n_tokens, float *scores)
{
    int64_t last = block->first + block->n - 1;
    if (block->first >= block->start && block->first >= block->visible_from + n_tokens - 1 && last <= block->visible_to)
        return;
    for (int j = 0; j < block->n; j++) {
        int64_t key = block->first + j;
        int from = clamp_lane(key - block->visible_to), to = key < block->start ? 0 : clamp_lane(key - block->visible_from + 1);
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
    vec max = v_max(even, odd), keep = v_exp(v_sub(old, max)), sum[VLANES];
    for (int c = 0; c < VLANES; c++) {
        sum[c] = v_set(0);
        for (int j = c; j < n; j += VLANES) {
            vec weight = v_exp(v_sub(v_load(scores + j * VLANES), max));
            v_store(scores + j * VLANES, weight);
            sum[c] = v_add(sum[c], weight);
        }
    }
    for (int half = VLANES / 2; half > 0; half /= 2)
        for (int c = 0; c < half; c++)
            sum[c] = v_add(sum[c], sum[c + half]);
    v_store(head.max, max);
    v_store(head.sum, v_fma(v_load(head.sum), keep, sum[0]));
    return keep;
}

static void add_values(const struct head head[2], int n_head, const struct block *block, int head_dim, float *weights[2],
                       const vec keep[2])
{
    float sums[2][PRODUCT_ROWS * VLANES], *to[2] = {sums[0], sums[1]};
    const float *tile[2] = {weights[0], weights[1]};
    for (int d = 0; d < head_dim; d += PRODUCT_ROWS) {
        int n = head_dim - d < PRODUCT_ROWS ? head_dim - d : PRODUCT_ROWS;
        products(block->v + d, 1, head_dim, n, block->n, tile, n_head, to);
        for (int h = 0; h < n_head; h++)
            for (int r = 0; r < n; r++) {
                float *out = head[h].out + (d + r) * VLANES;
                v_store(out, v_fma(v_load(out), keep[h], v_load(sums[h] + r * VLANES)));
            }
    }
}

/* One or two query heads: what is loaded of keys and values meets both. scores: room for two blocks. */
static void attend_block(const struct head head[2], int n_head, const struct block *block, int n_tokens, int head_dim, float softcap,
                         float *scores)
{
    float *score[2] = {scores, scores + KV_BLOCK * VLANES};
    const float *q[2] = {head[0].q, head[1].q};
    vec keep[2];
    products(block->k, head_dim, 1, block->n, head_dim, q, n_head, score);
    for (int h = 0; h < n_head; h++) {
        if (softcap > 0)
            v_soften(score[h], block->n, softcap);
        mask(block, n_tokens, score[h]);
        keep[h] = weigh(head[h], block->n, score[h]);
    }
    add_values(head, n_head, block, head_dim, score, keep);
}

static void finish(struct head head, int n_tokens, int head_dim, float *part, int64_t stride)
{
    from_tile(head.out, head_dim, n_tokens, part, stride);
    for (int t = 0; t < n_tokens; t++) {
        part[t * stride + head_dim] = head.max[t];
        part[t * stride + head_dim + 1] = head.sum[t];
    }
}

/* n rows as floats: those of the cache where they are floats already, else converted into `space`. */
static const float *rows_as_float(const void *rows, enum format format, int64_t first, int n, int head_dim, float *space)
{
    int64_t bytes = padded_row_bytes(format, head_dim);
    const uint8_t *row = (const uint8_t *)rows + first * bytes;
    if (format == FORMAT_F32)
        return (const float *)row;
    if (format == FORMAT_F16)
        halves_to_floats((const uint16_t *)row, (int64_t)n * head_dim, space);
    else
        for (int j = 0; j < n; j++, row += bytes)
            for (int d = 0; d < head_dim; d += VLANES)
                v_store_n(space + j * head_dim + d, head_dim - d, v_load_row(FORMAT_Q8_0, row, d, 0, VLANES));
    return space;
}

static void attention_prefill(const float *q, int64_t q_stride, int n_tokens, int n_head, int head_dim, struct kv_head kv, int64_t pos0,
                        int64_t window, int64_t first, int64_t last, float scale, float softcap, float *scratch, float *part)
{
    float *scores = scratch + n_head * (2 * (int64_t)head_dim * VLANES + 2 * VLANES);
    float *k_space = scores + 2 * KV_BLOCK * VLANES, *v_space = k_space + KV_BLOCK * head_dim;
    int64_t row = split_row(head_dim);
    struct block block = {.first = first / KV_BLOCK * KV_BLOCK, .start = first,
                          .visible_from = window ? pos0 - window + 1 : INT64_MIN / 2, .visible_to = pos0};

    for (int h = 0; h < n_head; h++)
        start(head_at(scratch, h, head_dim), q + h * head_dim, q_stride, n_tokens, head_dim, scale);
    for (; block.first < last && first < last; block.first += KV_BLOCK) {
        block.n = last - block.first < KV_BLOCK ? (int)(last - block.first) : KV_BLOCK;
        block.k = rows_as_float(kv.k, kv.format, block.first, block.n, head_dim, k_space);
        block.v = kv.v == kv.k ? block.k : rows_as_float(kv.v, kv.format, block.first, block.n, head_dim, v_space);
        for (int h = 0; h < n_head; h += 2) {
            struct head pair[2] = {head_at(scratch, h, head_dim), head_at(scratch, h + 1, head_dim)};
            attend_block(pair, n_head - h < 2 ? 1 : 2, &block, n_tokens, head_dim, softcap, scores);
        }
    }
    for (int h = 0; h < n_head; h++)
        finish(head_at(scratch, h, head_dim), n_tokens, head_dim, part + h * row, n_head * row);
}

void FILL(attention_prefill)(struct kernels *table)
{
    table->attention_prefill = attention_prefill;
}
