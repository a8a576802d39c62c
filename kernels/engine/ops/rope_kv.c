/* What happens to queries, keys and values before attention: head norms, rope, and the way into the cache. */
#include <math.h>
#include <string.h>
#include "formats/blocks.h"
#include "formats/half.h"
#include "attention.h"

const struct segment *segment_of(const struct step *s, int row)
{
    const struct segment *seg = s->segment;
    while (row >= seg->row + seg->n)
        seg++;
    return seg;
}

/* Where the values of one row for one kind of rope start in the tables, [n_ropes][n_batch][n_pairs]. */
static int64_t table_row(const struct step *s, int rope, int row)
{
    int64_t at = (int64_t)row * s->plan->rope[rope].n_pairs;
    for (int i = 0; i < rope; i++)
        at += (int64_t)s->scratch->n_batch * s->plan->rope[i].n_pairs;
    return at;
}

/* cos and sin of every row's position for every kind of rope, once a step; all layers share them. */
void fill_rope_tables(struct step *s, struct team *team, int thread)
{
    for (int row = thread; row < s->n_tokens; row += team_size(team)) {
        const struct segment *seg = segment_of(s, row);
        double pos = position(seg, row);
        for (int i = 0; i < s->plan->n_ropes; i++) {
            const struct rope *rope = &s->plan->rope[i];
            const double *freq = seg->cache->n_ctx > rope->n_ctx_short ? rope->freq_long : rope->freq;
            float *cos_row = s->scratch->cos + table_row(s, i, row), *sin_row = s->scratch->sin + table_row(s, i, row);
            for (int p = 0; p < rope->n_pairs; p++) {
                cos_row[p] = (float)cos(pos * freq[p]) * rope->magnitude;
                sin_row[p] = (float)sin(pos * freq[p]) * rope->magnitude;
            }
        }
    }
}

struct kv_head cache_head(const struct step *s, const struct op *op, const struct cache *cache, int head)
{
    const struct attention *a = op->parameters;
    int state = has_own_keys(a) ? op->state : s->plan->op[a->keys_of].state;
    int64_t bytes = cache->n_ctx * padded_row_bytes(cache->format, a->head_dim);
    const uint8_t *k = cache->data + cache->offset[state] + head * bytes;
    return (struct kv_head){k, a->one_row ? k : k + a->n_head_kv * bytes, cache->format};
}

/* Norms and rotates heads of one row in place. */
static void rotate_heads(const struct step *s, const struct op *op, float *heads, int n_head, struct vector norm, int row)
{
    const struct attention *a = op->parameters;
    const struct rope *rope = a->rope < 0 ? NULL : &s->plan->rope[a->rope];
    int64_t at = rope ? table_row(s, a->rope, row) : 0;
    for (int h = 0; h < n_head; h++, heads += a->head_dim) {
        if (norm.data && !a->norm_after_rope)
            s->kernels->rms_norm(heads, norm.data, norm.n, a->head_eps, heads);
        if (rope)
            s->kernels->rope(heads + a->rope_start, rope->n_pairs, s->scratch->cos + at, s->scratch->sin + at, rope->interleaved);
        if (norm.data && a->norm_after_rope)
            s->kernels->rms_norm(heads, norm.data, norm.n, a->head_eps, heads);
    }
}

void rotate_queries(const struct step *s, const struct op *op, float *heads, int n_head, int row)
{
    const struct attention *a = op->parameters;
    rotate_heads(s, op, heads, n_head, a->q_norm, row);
    if (a->temperature_scale == 0)
        return;
    int64_t periods = position(segment_of(s, row), row) / a->temperature_length;
    s->kernels->scale(heads, (float)(1 + a->temperature_scale * log1p((double)periods)), n_head * a->head_dim);
}

static void store_q8(const struct kernels *kernels, const float *x, int n, struct block_Q8_0 *block)
{
    for (int i = 0; i < n; i += Q8_GROUP, block++) {
        float group[Q8_GROUP] = {0}, scale;
        int8_t q[Q8_GROUP];
        int16_t sum[Q8_GROUP / 16];
        memcpy(group, x + i, (n - i < Q8_GROUP ? n - i : Q8_GROUP) * sizeof *x);
        kernels->quantize(group, Q8_GROUP, (struct q8_row){q, &scale, sum});
        block->d = float_to_half(scale);
        memcpy(block->qs, q, sizeof q);
    }
}

/* A head's key or value to its row of the cache. */
static void store(const struct kernels *kernels, const float *x, int n, enum format format, void *row)
{
    if (format == FORMAT_F16)
        kernels->float_to_f16(x, n, row);
    else if (format == FORMAT_Q8_0)
        store_q8(kernels, x, n, row);
    else
        memcpy(row, x, n * sizeof *x);
}

/* Values before keys, which may be the values. */
void append_heads(const struct step *s, const struct op *op, const struct segment *seg, int row, int head0, int n, float *space)
{
    const struct attention *a = op->parameters;
    int values = op->in[op->n_in > V ? V : K];
    float *k = s->scratch->slot[op->in[K]] + (int64_t)row * s->plan->width[op->in[K]] + head0 * a->head_dim;
    const float *v = s->scratch->slot[values] + (int64_t)row * s->plan->width[values] + head0 * a->head_dim;
    for (int h = head0; h < head0 + n; h++, k += a->head_dim, v += a->head_dim) {
        struct kv_head kv = cache_head(s, op, seg->cache, h);
        int64_t at = position(seg, row) * padded_row_bytes(kv.format, a->head_dim);
        if (a->v_norm.data)
            s->kernels->rms_norm(v, a->v_norm.data, a->head_dim, a->head_eps, space);
        if (!a->one_row)
            store(s->kernels, a->v_norm.data ? space : v, a->head_dim, kv.format, (uint8_t *)kv.v + at);
        rotate_heads(s, op, k, 1, a->k_norm, row);
        store(s->kernels, k, a->head_dim, kv.format, (uint8_t *)kv.k + at);
    }
}
