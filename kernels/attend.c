/* Attention of a step: head norms, rope and the cache first, then each query against the keys it may see.
 * Only this file knows that rows belong to different sequences (struct segment). */
#include <math.h>
#include <stddef.h>
#include "plan.h"

static const struct segment *segment_of(const struct step *s, int row)
{
    const struct segment *seg = s->segment;
    while (row >= seg->row + seg->n)
        seg++;
    return seg;
}

static int64_t position(const struct segment *seg, int row)
{
    return seg->pos + row - seg->row;
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
        double pos = position(segment_of(s, row), row);
        for (int i = 0; i < s->plan->n_ropes; i++) {
            const struct rope *rope = &s->plan->rope[i];
            float *cos_row = s->scratch->cos + table_row(s, i, row), *sin_row = s->scratch->sin + table_row(s, i, row);
            for (int p = 0; p < rope->n_pairs; p++) {
                cos_row[p] = (float)cos(pos * rope->freq[p]) * rope->magnitude;
                sin_row[p] = (float)sin(pos * rope->freq[p]) * rope->magnitude;
            }
        }
    }
}

static struct kv_head cache_head(const struct step *s, const struct cache *cache, int layer, int head)
{
    const struct cache_layer *shape = &s->plan->layer[layer];
    int64_t bytes = cache->n_ctx * shape->head_dim * (cache->is_f16 ? 2 : 4);
    const uint8_t *k = cache->data + cache->offset[layer] + head * bytes;
    return (struct kv_head){k, k + shape->n_head_kv * bytes, cache->is_f16};
}

static void norm_and_rotate(struct step *s, const struct attention *a, float eps, float *heads, int n_head, const float *norm,
                            int row)
{
    const struct rope *rope = a->rope < 0 ? NULL : &s->plan->rope[a->rope];
    int64_t at = rope ? table_row(s, a->rope, row) : 0;
    for (int h = 0; h < n_head; h++, heads += a->head_dim) {
        if (norm)
            s->kernels->rms_norm(heads, norm, a->head_dim, eps, heads);
        if (rope)
            s->kernels->rope(heads, rope->n_pairs, s->scratch->cos + at, s->scratch->sin + at, rope->interleaved);
    }
}

static void append(struct step *s, const struct attention *a, const struct segment *seg, int row)
{
    const float *k = s->scratch->slot[a->k] + (int64_t)row * s->plan->width[a->k];
    const float *v = s->scratch->slot[a->v] + (int64_t)row * s->plan->width[a->v];
    int64_t at = position(seg, row) * a->head_dim;
    for (int h = 0; h < a->n_head_kv; h++, k += a->head_dim, v += a->head_dim) {
        struct kv_head kv = cache_head(s, seg->cache, a->layer, h);
        if (kv.is_f16) {
            s->kernels->float_to_f16(k, a->head_dim, (uint16_t *)kv.k + at);
            s->kernels->float_to_f16(v, a->head_dim, (uint16_t *)kv.v + at);
            continue;
        }
        for (int i = 0; i < a->head_dim; i++) {
            ((float *)kv.k)[at + i] = k[i];
            ((float *)kv.v)[at + i] = v[i];
        }
    }
}

/* Query heads of one KV head that one task takes while one token is decoded: all, unless that leaves threads idle. */
static int heads_per_task(const struct attention *a, int n_threads)
{
    int group = a->n_head / a->n_head_kv, n = group;
    while (n > 1 && a->n_head_kv * (group / n) < n_threads && group % (n / 2) == 0)
        n /= 2;
    return n;
}

static void attend_row(struct step *s, const struct op *op, const struct segment *seg, int row, int head0, int n_head, int thread)
{
    const struct attention *a = &op->attention;
    int64_t pos = position(seg, row), first = a->window && pos >= a->window ? pos - a->window + 1 : 0;
    int dst = op->target[0].slot;
    float *q = s->scratch->slot[a->q] + (int64_t)row * s->plan->width[a->q] + head0 * a->head_dim;
    float *out = s->scratch->slot[dst] + (int64_t)row * s->plan->width[dst] + head0 * a->head_dim;
    struct kv_head kv = cache_head(s, seg->cache, a->layer, head0 / (a->n_head / a->n_head_kv));
    s->kernels->attend_one(q, n_head, a->head_dim, kv, first, pos + 1, a->scale, s->scratch->thread[thread].attention, out);
}

static void attend_rows(struct step *s, const struct op *op, const struct segment *seg, int row, int n, int kv_head, int thread)
{
    const struct attention *a = &op->attention;
    int group = a->n_head / a->n_head_kv, dst = op->target[0].slot;
    int64_t q_stride = s->plan->width[a->q], out_stride = s->plan->width[dst];
    int64_t at = (int64_t)kv_head * group * a->head_dim;
    s->kernels->attend_tile(s->scratch->slot[a->q] + row * q_stride + at, q_stride, n, group, a->head_dim,
                            cache_head(s, seg->cache, a->layer, kv_head), position(seg, row), a->window, a->scale,
                            s->scratch->thread[thread].attention, s->scratch->slot[dst] + row * out_stride + at, out_stride);
}

/* Tiles of at most `lanes` rows of one segment, the last ones (which see most keys) first. */
static int run_tiles(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct attention *a = &op->attention;
    int lanes = s->kernels->lanes;
    int64_t n_tiles = 0;
    for (int g = 0; g < s->n_segments; g++)
        n_tiles += (s->segment[g].n + lanes - 1) / lanes;
    for (int64_t task; (task = team_next(team, thread, n_tiles * a->n_head_kv)) >= 0;) {
        int64_t tile = n_tiles - 1 - task / a->n_head_kv;
        const struct segment *seg = s->segment;
        for (int64_t n; tile >= (n = (seg->n + lanes - 1) / lanes); seg++)
            tile -= n;
        int row = seg->row + tile * lanes, left = seg->row + seg->n - row;
        attend_rows(s, op, seg, row, left < lanes ? left : lanes, task % a->n_head_kv, thread);
    }
    return team_barrier(team, thread);
}

int run_attention(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct attention *a = &op->attention;
    for (int64_t row; (row = team_next(team, thread, s->n_tokens)) >= 0;) {
        float *q = s->scratch->slot[a->q] + row * s->plan->width[a->q];
        float *k = s->scratch->slot[a->k] + row * s->plan->width[a->k];
        norm_and_rotate(s, a, op->eps, q, a->n_head, a->q_norm, row);
        norm_and_rotate(s, a, op->eps, k, a->n_head_kv, a->k_norm, row);
        append(s, a, segment_of(s, row), row);
    }
    if (team_barrier(team, thread))
        return 1;
    if (s->n_tokens > 1)
        return run_tiles(s, op, team, thread);
    int n_head = heads_per_task(a, team_size(team));
    for (int64_t task; (task = team_next(team, thread, a->n_head / n_head)) >= 0;)
        attend_row(s, op, s->segment, 0, task * n_head, n_head, thread);
    return team_barrier(team, thread);
}
