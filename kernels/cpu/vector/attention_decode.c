/* Attention of one token: its query heads read the keys and values of their KV head together, since reading them is most of the work. A
 * block of keys is transposed once for all of them, so that keys lie in the lanes. */
#include <float.h>
#include <stddef.h>
#include <string.h>
#include "cpu/kernel_table.h"
#include "convert.h"
#include "exp.h"
#include "lanes.h"

/* Query heads and vectors of a head whose weighted sums are in registers. */
enum { SUM_HEADS = 4, SUM_VECTORS = 2 };
/* Query heads, vectors of keys and elements of a key that meet at a time: the scores are in registers, the elements in the first cache. */
enum { SCORE_HEADS = V_REGISTERS / 8, SCORE_VECTORS = 4, ELEMENTS = 64 };
enum { KEY_VECTORS = KV_BLOCK / VLANES };

/* The processor's own prefetch stops at each 4 KB page: keys and values are fetched a block ahead of use (twice the speed where they
 * come from memory), a few lines at a time, since a core has some 20 on their way at once and waits if it asks for more: values while
 * values are summed, keys while scores are. */

void FILL(attention_decode)(struct kernels *table);

/* Scales of a block's rows in Q8_0, [32 elements][key]; nothing in other formats. */
typedef const float (*row_scales)[KV_BLOCK];

/* Keys of which the first n, at most KV_BLOCK, are there, and those from `visible` on are seen. */
struct block {
    const uint8_t *k, *v;
    int64_t bytes;            /* of a row */
    int n, visible;
    row_scales k_scales, v_scales;
};

/* The next block's keys: `lines` of them are fetched for each STEP elements that keys and queries meet in. */
struct fetch {
    const uint8_t *at;
    int64_t lines;
};
enum { STEP = 8 };

/* The query heads that share these keys, and what came of them. */
struct heads {
    int n, head_dim;
    float softcap;
    const float *q;           /* [n][head_dim], times the scale */
    float *weights;           /* [n][KV_BLOCK]: scores, then weights */
    float *keep;              /* [n]: what the weighted values so far are multiplied by */
    float *out;               /* [n] rows of split_row */
};

static void load_scales(const uint8_t *rows, const struct block *block, int head_dim, float (*scales)[KV_BLOCK])
{
    for (int i = 0; i * 32 < head_dim; i++) {
        uint16_t halves[KV_BLOCK] = {0};
        for (int j = 0; j < block->n; j++)
            halves[j] = ((const struct block_Q8_0 *)(rows + j * block->bytes))[i].d;
        for (int j = 0; j < KV_BLOCK; j += VLANES)
            v_store(scales[i] + j, v_from_f16(halves + j, VLANES));
    }
}

/* Where element d of a row is, in bytes; of Q8_0 its code. */
INLINE int64_t element_offset(enum format format, unsigned d)
{
    return format != FORMAT_Q8_0 ? row_bytes(format, d) : row_bytes(format, d) + (int64_t)offsetof(struct block_Q8_0, qs) + d % 32;
}

/* Vector c of those at p, its first n elements; of Q8_0 the codes, all c in one block. */
INLINE vec load_codes(enum format format, const uint8_t *p, int c, int n)
{
    return format == FORMAT_Q8_0 ? v_from_i8((const int8_t *)p + c * VLANES) : v_load_as(format, p, c * VLANES, n);
}

/* keys[i][j] = element d + i of key j, i < n, for VLANES keys from j on, whose rows these are. Elements lie whole in vectors but for
 * the last ones of a head. */
INLINE void transpose_square(enum format format, const struct block *block, const uint8_t *rows[VLANES], int j, int d, int n,
                             float (*keys)[KV_BLOCK])
{
    int64_t offset = element_offset(format, d);
    vec square[VLANES], scales = format == FORMAT_Q8_0 ? v_load(block->k_scales[d / 32] + j) : v_set(1);
    for (int r = 0; r < VLANES; r++)
        square[r] = load_codes(format, rows[r] + offset, 0, n);
    v_transpose(square);
    for (int i = 0; i < n; i++)
        v_store(keys[i] + j, format == FORMAT_Q8_0 ? v_mul(square[i], scales) : square[i]);
}

/* keys[i][j] = element d + i of key j, i < n. The last key stands for those behind it, whose scores are not used. */
INLINE void transpose_keys(enum format format, const struct block *block, int d, int n, float (*keys)[KV_BLOCK])
{
    for (int j = 0; j < block->n; j += VLANES) {
        const uint8_t *rows[VLANES];
        for (int r = 0; r < VLANES; r++)
            rows[r] = block->k + (j + r < block->n ? j + r : block->n - 1) * block->bytes;
        int i = 0;
        for (; i + VLANES <= n; i += VLANES)
            transpose_square(format, block, rows, j, d + i, VLANES, keys + i);
        if (i < n)
            transpose_square(format, block, rows, j, d + i, n - i, keys + i);
    }
}

/* Adds the products of n elements, from d on, to the scores of some vectors of keys, from v0 on, and some heads, from h0 on: n_vectors
 * and n_head are constants. */
INLINE void score(const struct heads *heads, int h0, int n_head, int v0, int n_vectors, int d, int n, float (*keys)[KV_BLOCK],
                  struct fetch *next)
{
    const float *q = heads->q + h0 * heads->head_dim + d;
    float *scores = heads->weights + h0 * KV_BLOCK + v0 * VLANES;
    vec sum[SCORE_HEADS][KEY_VECTORS];
    for (int h = 0; h < n_head; h++)
        for (int v = 0; v < n_vectors; v++)
            sum[h][v] = d ? v_load(scores + h * KV_BLOCK + v * VLANES) : v_set(0);
    for (int64_t from = 0; from < n; from += STEP) {
        for (int64_t line = 0; line < next->lines; line++, next->at += 64)
            __builtin_prefetch(next->at);
        #pragma GCC unroll STEP
        for (int64_t i = from; i < (from + STEP < n ? from + STEP : n); i++)
            for (int h = 0; h < n_head; h++) {
                vec x = v_set(q[h * heads->head_dim + i]);
                for (int v = 0; v < n_vectors; v++)
                    sum[h][v] = v_fma(v_load(keys[i] + (v0 + v) * VLANES), x, sum[h][v]);
            }
    }
    for (int h = 0; h < n_head; h++)
        for (int v = 0; v < n_vectors; v++)
            v_store(scores + h * KV_BLOCK + v * VLANES, sum[h][v]);
}

static void score_heads(const struct heads *heads, int n_vectors, int d, int n, float (*keys)[KV_BLOCK], struct fetch *next)
{
    int h = 0;
    for (; h + SCORE_HEADS <= heads->n && n_vectors == KEY_VECTORS; h += SCORE_HEADS)
        for (int v = 0; v < KEY_VECTORS; v += SCORE_VECTORS)
            score(heads, h, SCORE_HEADS, v, SCORE_VECTORS, d, n, keys, next);
    for (; h < heads->n && n_vectors == KEY_VECTORS; h++)
        score(heads, h, 1, 0, KEY_VECTORS, d, n, keys, next);
    for (; h < heads->n; h++)
        for (int v = 0; v < n_vectors; v++)
            score(heads, h, 1, v, 1, d, n, keys, next);
}

/* -infinity for keys that are not there or not seen. */
static void mask(const struct block *block, const struct heads *heads, int n_vectors)
{
    if (block->n == KV_BLOCK && block->visible == 0)
        return;
    for (int h = 0; h < heads->n; h++)
        for (int v = 0; v < n_vectors; v++) {
            float *scores = heads->weights + h * KV_BLOCK + v * VLANES;
            v_store(scores, v_keep_lanes(v_load(scores), clamp_lane(block->visible - v * VLANES), clamp_lane(block->n - v * VLANES)));
        }
}

/* The greatest score so far, which is out[head_dim], brought up to date; keep[h] is what it was less what it is. */
static void find_greatest(const struct heads *heads, int h, int n_vectors)
{
    const float *scores = heads->weights + h * KV_BLOCK;
    float *max = heads->out + h * split_row(heads->head_dim) + heads->head_dim;
    vec greatest = v_set(*max);
    for (int v = 0; v < n_vectors; v++)
        greatest = v_max(v_load(scores + v * VLANES), greatest);
    float new_max = v_greatest(greatest);
    heads->keep[h] = *max - new_max;
    *max = new_max;
}

/* Scores to weights, relative to the greatest so far; brings their sum, which lies behind it, up to date. */
static void weigh(const struct heads *heads, int h, int n_vectors)
{
    float *scores = heads->weights + h * KV_BLOCK, *max = heads->out + h * split_row(heads->head_dim) + heads->head_dim, *sum = max + 1;
    vec greatest = v_set(*max), total = v_set(0);
    for (int v = 0; v < n_vectors; v++) {
        vec weight = v_exp(v_sub(v_load(scores + v * VLANES), greatest));
        v_store(scores + v * VLANES, weight);
        total = v_add(total, weight);
    }
    float lanes[VLANES];
    v_store(lanes, total);
    for (int half = VLANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    v_store_n(sum, 1, v_fma(v_set(*sum), v_set(heads->keep[h]), v_set(lanes[0])));
}

/* out = out * keep + the weighted sum of the values' elements d .. d + n - 1 (as many vectors as n_vectors), for heads h0 ..
 * h0 + n_head - 1; n_head and n_vectors are constants. */
INLINE void sum_values(enum format format, const struct block *block, const struct heads *heads, int h0, int n_head, int d, int n_vectors,
                       int n)
{
    const float *weights = heads->weights + h0 * KV_BLOCK, *scales = format == FORMAT_Q8_0 ? block->v_scales[(unsigned)d / 32] : NULL;
    const uint8_t *values = block->v + element_offset(format, d);
    int64_t ahead = KV_BLOCK * block->bytes;
    vec sum[SUM_HEADS][SUM_VECTORS], value[SUM_VECTORS];
    for (int h = 0; h < n_head; h++)
        for (int c = 0; c < n_vectors; c++)
            sum[h][c] = v_set(0);
    #pragma GCC unroll 4
    for (int64_t j = block->visible; j < block->n; j++) {
        const uint8_t *row = values + j * block->bytes;
        __builtin_prefetch(row + ahead);
        for (int c = 0; c < n_vectors; c++) {
            value[c] = load_codes(format, row, c, n - c * VLANES);
            if (format == FORMAT_Q8_0)
                value[c] = v_mul(value[c], v_set(scales[j]));
        }
        for (int h = 0; h < n_head; h++) {
            vec weight = v_set(weights[h * KV_BLOCK + j]);
            for (int c = 0; c < n_vectors; c++)
                sum[h][c] = v_fma(weight, value[c], sum[h][c]);
        }
    }
    for (int h = 0; h < n_head; h++)
        for (int c = 0; c < n_vectors; c++) {
            float *p = heads->out + (h0 + h) * split_row(heads->head_dim) + d + c * VLANES;
            v_store_n(p, n - c * VLANES, v_fma(v_load_n(p, n - c * VLANES), v_set(heads->keep[h0 + h]), sum[h][c]));
        }
}

INLINE void sum_heads(enum format format, const struct block *block, const struct heads *heads, int h0, int n_head)
{
    int d = 0;
    for (; d + SUM_VECTORS * VLANES <= heads->head_dim; d += SUM_VECTORS * VLANES)
        sum_values(format, block, heads, h0, n_head, d, SUM_VECTORS, SUM_VECTORS * VLANES);
    for (; d < heads->head_dim; d += VLANES)
        sum_values(format, block, heads, h0, n_head, d, 1, heads->head_dim - d);
}

INLINE void attend_block(enum format format, const struct block *block, const struct heads *heads, float (*keys)[KV_BLOCK])
{
    int n_vectors = (block->n + VLANES - 1) / VLANES;
    /* A block of 64 rows has as many lines of 64 bytes as a row has bytes. */
    int64_t calls = heads->n / SCORE_HEADS * (KEY_VECTORS / SCORE_VECTORS) + heads->n % SCORE_HEADS;
    int64_t steps = calls * ((heads->head_dim + STEP - 1) / STEP);
    struct fetch next = {block->k + KV_BLOCK * block->bytes, (block->bytes + steps - 1) / steps};
    for (int d = 0; d < heads->head_dim; d += ELEMENTS) {
        int n = heads->head_dim - d < ELEMENTS ? heads->head_dim - d : ELEMENTS;
        transpose_keys(format, block, d, n, keys);
        score_heads(heads, n_vectors, d, n, keys, &next);
    }
    for (int h = 0; h < heads->n && heads->softcap > 0; h++)
        v_soften(heads->weights + h * KV_BLOCK, n_vectors, heads->softcap);
    mask(block, heads, n_vectors);
    for (int h = 0; h < heads->n; h++)
        find_greatest(heads, h, n_vectors);
    for (int h = 0; h < heads->n; h += VLANES)
        v_store_n(heads->keep + h, heads->n - h, v_exp(v_load_n(heads->keep + h, heads->n - h)));
    for (int h = 0; h < heads->n; h++)
        weigh(heads, h, n_vectors);
    for (int h = 0; h < heads->n; h += SUM_HEADS)
        switch (heads->n - h) {
        case 1: sum_heads(format, block, heads, h, 1); break;
        case 2: sum_heads(format, block, heads, h, 2); break;
        case 3: sum_heads(format, block, heads, h, 3); break;
        default: sum_heads(format, block, heads, h, SUM_HEADS);
        }
}

static void attend_q8_0(struct block *block, const struct heads *heads, float (*keys)[KV_BLOCK], float (*scales)[KV_BLOCK])
{
    int n = (heads->head_dim + 31) / 32;
    load_scales(block->k, block, heads->head_dim, scales);
    load_scales(block->v, block, heads->head_dim, scales + n);
    block->k_scales = (row_scales)scales;
    block->v_scales = (row_scales)(scales + n);
    attend_block(FORMAT_Q8_0, block, heads, keys);
}

static void attention_decode(const float *q, int n_head, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale,
                             float softcap, float *scratch, float *part)
{
    const int64_t bytes = padded_row_bytes(kv.format, head_dim), n_q = (int64_t)n_head * head_dim;
    float (*keys)[KV_BLOCK] = (void *)scratch, (*scales)[KV_BLOCK] = keys + ELEMENTS;
    float *weights = scales[2 * ((head_dim + 31) / 32)], *scaled = weights + n_head * KV_BLOCK;
    const struct heads heads = {n_head, head_dim, softcap, scaled, weights, scaled + n_q, part};
    for (int64_t i = 0; i < n_q; i++)
        scaled[i] = q[i] * scale;
    for (int h = 0; h < n_head; h++) {
        float *row = part + h * split_row(head_dim);
        memset(row, 0, split_row(head_dim) * sizeof *row);
        row[head_dim] = -FLT_MAX;
    }
    for (int64_t from = first / KV_BLOCK * KV_BLOCK; from < last && first < last; from += KV_BLOCK) {
        struct block block = {.k = (const uint8_t *)kv.k + from * bytes, .v = (const uint8_t *)kv.v + from * bytes, .bytes = bytes,
                              .n = last - from < KV_BLOCK ? (int)(last - from) : KV_BLOCK,
                              .visible = from < first ? (int)(first - from) : 0};
        switch (kv.format) {
        case FORMAT_F16: attend_block(FORMAT_F16, &block, &heads, keys); break;
        case FORMAT_Q8_0: attend_q8_0(&block, &heads, keys, scales); break;
        default: attend_block(FORMAT_F32, &block, &heads, keys);
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
