/* Attention of a step: head norms, rope and the cache first (rope_kv.c), then each query against the keys it may see.
 *
 * The work is cut in units: a few rows of one segment and the query heads of one KV head, so that keys are read once for all of them.
 * The keys of a unit are cut in parts. Where there are few units (one token, few KV heads) a part is a task, and who finishes the last
 * part of a unit joins them; else a unit is. Cuts depend on positions alone and parts are joined in order: how many threads there are
 * changes no bit of the result. */
#include <string.h>
#include "ops.h"

enum { PART_ELEMENTS = 1 << 14 };       /* of keys that a part of few rows has: 64 KB of keys and values in F16 */
enum { TILE_PARTS = 4 };                /* a part of a tile has so many times more */

/* Whether rows are attended one by one. Measured: attend_one costs as much as 2 or 3 lanes of attend_tile, which computes all. */
static int one_by_one(int n_rows, int lanes)
{
    return 8 * n_rows <= 3 * lanes;
}

static float *queries(const struct step *s, const struct attention *a, int row, int kv_head)
{
    return s->scratch->slot[a->q] + (int64_t)row * s->plan->width[a->q] + (int64_t)kv_head * (a->n_head / a->n_head_kv) * a->head_dim;
}

/* Where every segment has one row, no row waits for the keys of another: what a task needs it prepares itself, which saves a barrier. */
static int rows_are_alone(const struct step *s)
{
    return s->n_tokens == s->n_segments;
}

/* ---- units and parts ---- */

struct unit {
    const struct segment *seg;
    int row, n;                 /* rows of the step */
    int kv_head;
    int64_t first, last;        /* the keys that some of the rows sees */
    int64_t keys;               /* of a part */
    int n_parts;
};

/* Keys of each part but the last. */
static int64_t part_keys(int n_rows, int lanes, int64_t n_keys, int head_dim)
{
    int64_t most = PART_ELEMENTS / head_dim * (one_by_one(n_rows, lanes) ? 1 : TILE_PARTS);
    if (most < KV_BLOCK)
        most = KV_BLOCK;
    int64_t parts = (n_keys + most - 1) / most, allowed = MAX_PARTS / n_rows;
    if (parts > allowed)
        parts = allowed;
    int64_t even = (n_keys + parts - 1) / parts;
    return (even + KV_BLOCK - 1) / KV_BLOCK * KV_BLOCK;
}

/* The first key that a position sees. */
static int64_t first_key(const struct attention *a, int64_t pos)
{
    return a->window && pos >= a->window ? pos - a->window + 1 : 0;
}

static int64_t count_tiles(const struct step *s)
{
    int64_t n = 0;
    for (int g = 0; g < s->n_segments; g++)
        n += (s->segment[g].n + s->kernels->lanes - 1) / s->kernels->lanes;
    return n;
}

/* Unit i of n_tiles * n_head_kv: the last rows, which see most keys, come first. */
static struct unit unit_at(const struct step *s, const struct attention *a, int64_t n_tiles, int64_t i)
{
    int lanes = s->kernels->lanes;
    int64_t tile = n_tiles - 1 - i / a->n_head_kv;
    const struct segment *seg = s->segment;
    for (int64_t n; tile >= (n = (seg->n + lanes - 1) / lanes); seg++)
        tile -= n;
    struct unit u = {.seg = seg, .row = seg->row + tile * lanes, .kv_head = i % a->n_head_kv};
    int left = seg->row + seg->n - u.row;
    u.n = left < lanes ? left : lanes;
    u.first = first_key(a, position(seg, u.row));
    u.last = position(seg, u.row) + u.n;
    u.keys = part_keys(u.n, lanes, u.last - u.first, a->head_dim);
    u.n_parts = (u.last - u.first + u.keys - 1) / u.keys;
    return u;
}

static int64_t part_stride(const struct attention *a, int n_rows)
{
    int64_t n = n_rows * (a->n_head / a->n_head_kv) * part_row(a->head_dim);
    return (n + 15) / 16 * 16;
}

/* One part of a unit's keys, to `out`. */
static void attend_part(struct step *s, const struct op *op, const struct unit *u, int part, float *out, int thread)
{
    const struct attention *a = &op->attention;
    int group = a->n_head / a->n_head_kv;
    int64_t first = u->first + part * u->keys, end = first + u->keys, last = end < u->last ? end : u->last;
    int64_t n_q = (int64_t)group * a->head_dim, pos = position(u->seg, u->row);
    const float *q = queries(s, a, u->row, u->kv_head);
    float *space = s->scratch->thread[thread].attention;
    if (rows_are_alone(s)) {
        if (last == u->last)
            append_heads(s, op, u->seg, u->row, u->kv_head, 1);
        memcpy(space, q, n_q * sizeof *q);         /* other parts are for other threads, which read it too */
        rotate_heads(s, op, space, group, a->q_norm, u->row);
        q = space;
        space += (n_q + 15) / 16 * 16;
    }
    struct kv_head kv = cache_head(s, u->seg->cache, a->layer, u->kv_head);
    if (!one_by_one(u->n, s->kernels->lanes)) {
        s->kernels->attend_tile(q, s->plan->width[a->q], u->n, group, a->head_dim, kv, pos, a->window, first, last, a->scale, space, out);
        return;
    }
    for (int t = 0; t < u->n; t++, q += s->plan->width[a->q], out += group * part_row(a->head_dim)) {
        int64_t from = first_key(a, pos + t), to = pos + t + 1 < last ? pos + t + 1 : last;
        from = from < first ? first : from;
        s->kernels->attend_one(q, group, a->head_dim, kv, from < to ? from : to, to, a->scale, space, out);
    }
}

static void join_parts(struct step *s, const struct op *op, const struct unit *u, const float *parts)
{
    const struct attention *a = &op->attention;
    int group = a->n_head / a->n_head_kv, dst = op->target[0].slot;
    float *out = s->scratch->slot[dst] + (int64_t)u->row * s->plan->width[dst] + (int64_t)u->kv_head * group * a->head_dim;
    for (int t = 0; t < u->n; t++, parts += group * part_row(a->head_dim), out += s->plan->width[dst])
        s->kernels->merge_parts(parts, part_stride(a, u->n), u->n_parts, group, a->head_dim, out);
}

int64_t attention_floats(const struct plan *plan, int lanes, int64_t n_ctx)
{
    int64_t most = 0;
    int few = 3 * lanes / 8;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct attention *a = &plan->op[i].attention;
        if (plan->op[i].kind != OP_ATTENTION)
            continue;
        int group = a->n_head / a->n_head_kv;
        int64_t short_part = PART_ELEMENTS / a->head_dim + KV_BLOCK, long_part = part_keys(few, lanes, n_ctx, a->head_dim);
        int64_t one = group * (short_part > long_part ? short_part : long_part), tile = attend_scratch(group, a->head_dim);
        int64_t n = (int64_t)group * a->head_dim + 16 + (one > tile ? one : tile);
        most = n > most ? n : most;
    }
    return most;
}

int64_t attention_unit_floats(const struct plan *plan)
{
    int64_t most = 0;
    for (int i = 0; i < plan->n_ops; i++)
        if (plan->op[i].kind == OP_ATTENTION) {
            int64_t n = MAX_PARTS * part_stride(&plan->op[i].attention, 1);
            most = n > most ? n : most;
        }
    return most;
}

/* ---- the operation ---- */

static int run_units(struct step *s, const struct op *op, int64_t n_tiles, struct team *team, int thread)
{
    float *parts = s->scratch->parts + thread * s->scratch->unit_floats;
    for (int64_t i; (i = team_next(team, thread, n_tiles * op->attention.n_head_kv)) >= 0;) {
        struct unit u = unit_at(s, &op->attention, n_tiles, i);
        for (int part = 0; part < u.n_parts && !team_cancelled(team, thread); part++)
            attend_part(s, op, &u, part, parts + part * part_stride(&op->attention, u.n), thread);
        join_parts(s, op, &u, parts);              /* of a cancelled step nobody reads the result */
    }
    return team_barrier(team, thread);
}

static int run_parts(struct step *s, const struct op *op, int64_t n_tiles, struct team *team, int thread)
{
    const struct attention *a = &op->attention;
    int64_t n_tasks = 0;
    for (int64_t i = 0; i < n_tiles; i++)
        n_tasks += a->n_head_kv * unit_at(s, a, n_tiles, i * a->n_head_kv).n_parts;
    for (int64_t task; (task = team_next(team, thread, n_tasks)) >= 0;) {
        int64_t i = 0;
        struct unit u = unit_at(s, a, n_tiles, 0);
        for (; task >= u.n_parts; u = unit_at(s, a, n_tiles, ++i))
            task -= u.n_parts;
        float *parts = s->scratch->parts + i * s->scratch->unit_floats;
        attend_part(s, op, &u, task, parts + task * part_stride(a, u.n), thread);
        if (__atomic_add_fetch(&s->scratch->parts_done[i], 1, __ATOMIC_ACQ_REL) == u.n_parts) {
            s->scratch->parts_done[i] = 0;
            join_parts(s, op, &u, parts);
        }
    }
    return team_barrier(team, thread);
}

int run_attention(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct attention *a = &op->attention;
    if (!rows_are_alone(s)) {
        for (int64_t row; (row = team_next(team, thread, s->n_tokens)) >= 0;) {
            rotate_heads(s, op, queries(s, a, row, 0), a->n_head, a->q_norm, row);
            append_heads(s, op, segment_of(s, row), row, 0, a->n_head_kv);
        }
        if (team_barrier(team, thread))
            return 1;
    }
    int64_t n_tiles = count_tiles(s);
    return (n_tiles * a->n_head_kv > s->scratch->n_units ? run_units : run_parts)(s, op, n_tiles, team, thread);
}
