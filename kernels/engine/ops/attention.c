/* Attention of a step: head norms, rope and the cache first (rope_kv.c), then each query against the keys it may see.
 *
 * The work is cut in work items: a few rows of one segment and the query heads of one KV head, so that keys are read once for all of
 * them. The keys of an item are cut in KV splits, as flash-decoding does. Where there are few items (one token, few KV heads) a split is
 * a task, and who finishes the last split of an item merges them; else an item is. Splits lie at fixed positions and are merged in
 * order: neither how many rows an item has nor how many threads there are changes a bit of the result (cpu/order.h). */
#include <string.h>
#include "attention.h"

enum {
    MIN_ROOM = 256,                     /* rows of splits that have room in memory, for each work item */
    ITEMS_PER_THREAD = 4                /* work items whose splits have */
};

/* Whether rows are attended one by one. Measured: attention_decode costs as much as 2 or 3 lanes of attention_prefill, which computes all. */
static int one_by_one(int n_rows, int lanes)
{
    return 8 * n_rows <= 3 * lanes;
}

static float *queries(const struct step *s, const struct op *op, int row, int kv_head)
{
    const struct attention *a = op->parameters;
    return s->scratch->slot[op->in[Q]] + (int64_t)row * s->plan->width[op->in[Q]] + kv_head * (a->n_head / a->n_head_kv) * a->head_dim;
}

/* Where every segment has one row, no row waits for the keys of another: what a task needs it prepares itself, which saves a barrier. */
static int rows_are_alone(const struct step *s)
{
    return s->n_tokens == s->n_segments;
}

/* ---- work items and KV splits ---- */

struct item {
    const struct segment *seg;
    int row, n;                 /* rows of the step */
    int kv_head;
    int64_t first, last;        /* the keys that some of the rows sees */
    int n_splits;
};

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

/* Work item i of n_tiles * n_head_kv: the last rows, which see most keys, come first. */
static struct item item_at(const struct step *s, const struct attention *a, int64_t n_tiles, int64_t i)
{
    int lanes = s->kernels->lanes;
    int64_t tile = n_tiles - 1 - i / a->n_head_kv;
    const struct segment *seg = s->segment;
    for (int64_t n; tile >= (n = (seg->n + lanes - 1) / lanes); seg++)
        tile -= n;
    struct item u = {.seg = seg, .row = seg->row + tile * lanes, .kv_head = i % a->n_head_kv};
    int left = seg->row + seg->n - u.row;
    u.n = left < lanes ? left : lanes;
    u.first = first_key(a, position(seg, u.row));
    u.last = position(seg, u.row) + u.n;
    u.n_splits = (u.last - 1) / split_keys(a->head_dim) - u.first / split_keys(a->head_dim) + 1;
    return u;
}

static int64_t split_stride(const struct attention *a, int n_rows)
{
    int64_t n = n_rows * (a->n_head / a->n_head_kv) * split_row(a->head_dim);
    return (n + 15) / 16 * 16;
}

/* One split of an item's keys, to `out`. */
static void attend_split(struct step *s, const struct op *op, const struct item *u, int split, float *out, int thread)
{
    const struct attention *a = op->parameters;
    int group = a->n_head / a->n_head_kv;
    int64_t keys = split_keys(a->head_dim), start = (u->first / keys + split) * keys, end = start + keys;
    int64_t first = start < u->first ? u->first : start, last = end < u->last ? end : u->last;
    int64_t n_q = (int64_t)group * a->head_dim, pos = position(u->seg, u->row);
    const float *q = queries(s, op, u->row, u->kv_head);
    float *space = s->scratch->thread[thread].floats;
    if (rows_are_alone(s)) {
        if (has_own_keys(a) && last == u->last)
            append_heads(s, op, u->seg, u->row, u->kv_head, 1, space);
        memcpy(space, q, n_q * sizeof *q);         /* other splits are for other threads, which read it too */
        rotate_queries(s, op, space, group, u->row);
        q = space;
        space += (n_q + 15) / 16 * 16;
    }
    struct kv_head kv = cache_head(s, op, u->seg->cache, u->kv_head);
    if (!one_by_one(u->n, s->kernels->lanes)) {
        s->kernels->attention_prefill(q, s->plan->width[op->in[Q]], u->n, group, a->head_dim, kv, pos, a->window, first, last, a->scale, a->softcap,
                                      space, out);
        return;
    }
    for (int t = 0; t < u->n; t++, q += s->plan->width[op->in[Q]], out += group * split_row(a->head_dim)) {
        int64_t from = first_key(a, pos + t), to = pos + t + 1 < last ? pos + t + 1 : last;
        from = from < first ? first : from;
        s->kernels->attention_decode(q, group, a->head_dim, kv, from < to ? from : to, to, a->scale, a->softcap, space, out);
    }
}

/* Merges the sinks of an item's heads with what came of its keys: as one split more, of keys whose values are 0. */
static void merge_sinks(struct step *s, const struct op *op, const struct item *u, float *total, int thread)
{
    const struct attention *a = op->parameters;
    int group = a->n_head / a->n_head_kv;
    float *split = s->scratch->thread[thread].floats, *row = split;
    memset(split, 0, group * split_row(a->head_dim) * sizeof *split);
    for (int h = 0; h < group; h++, row += split_row(a->head_dim)) {
        row[a->head_dim] = a->sinks.data[u->kv_head * group + h];
        row[a->head_dim + 1] = 1;
    }
    for (int t = 0; t < u->n; t++, total += group * split_row(a->head_dim))
        s->kernels->merge_split(split, group, a->head_dim, total);
}

/* The result of an item from what came of all its keys. */
static void finish_item(struct step *s, const struct op *op, const struct item *u, float *total, int thread)
{
    const struct attention *a = op->parameters;
    int group = a->n_head / a->n_head_kv, dst = op->out[0];
    float *out = s->scratch->slot[dst] + (int64_t)u->row * s->plan->width[dst] + (int64_t)u->kv_head * group * a->head_dim;
    if (a->sinks.data)
        merge_sinks(s, op, u, total, thread);
    for (int t = 0; t < u->n; t++, total += group * split_row(a->head_dim), out += s->plan->width[dst])
        s->kernels->finish_attention(total, group, a->head_dim, out);
}

/* ---- the operation ---- */

/* Floats for the splits of one item: all of a single row, or two of a tile. */
static int64_t item_floats(const struct attention *a, int64_t n_ctx, int lanes)
{
    int64_t splits = n_ctx / split_keys(a->head_dim) + 2, rows = splits > MIN_ROOM ? splits : MIN_ROOM;
    return rows * split_stride(a, 1) + 2 * split_stride(a, lanes);
}

static struct scratch_need attention_need(const struct op *op, struct step_size size)
{
    const struct attention *a = op->parameters;
    int group = a->n_head / a->n_head_kv, n_items = ITEMS_PER_THREAD * size.n_threads;
    return (struct scratch_need){
        .thread_floats = (int64_t)group * a->head_dim + 16 + attention_scratch(group, a->head_dim),
        .shared_floats = n_items * item_floats(a, size.n_ctx, size.lanes),
        .n_counters = n_items,
    };
}

static struct position_rows attention_rows(const struct op *op, enum format format)
{
    const struct attention *a = op->parameters;
    int64_t n = !has_own_keys(a) ? 0 : a->one_row ? a->n_head_kv : 2 * a->n_head_kv;
    return (struct position_rows){n, padded_row_bytes(format, a->head_dim)};
}

static int run_items(struct step *s, const struct op *op, int64_t n_tiles, struct team *team, int thread)
{
    const struct attention *a = op->parameters;
    float *total = s->scratch->shared + thread * item_floats(a, s->scratch->n_ctx, s->kernels->lanes);
    for (int64_t i; (i = next_chunk(team, thread, n_tiles * a->n_head_kv)) >= 0;) {
        struct item u = item_at(s, a, n_tiles, i);
        float *next = total + split_stride(a, u.n);
        attend_split(s, op, &u, 0, total, thread);
        for (int split = 1; split < u.n_splits && !team_cancelled(team, thread); split++) {
            attend_split(s, op, &u, split, next, thread);
            s->kernels->merge_split(next, u.n * (a->n_head / a->n_head_kv), a->head_dim, total);
        }
        finish_item(s, op, &u, total, thread);             /* of a cancelled step nobody reads the result */
    }
    return team_barrier(team, thread);
}

static int run_splits(struct step *s, const struct op *op, int64_t n_tiles, struct team *team, int thread)
{
    const struct attention *a = op->parameters;
    int64_t n_tasks = 0;
    for (int64_t i = 0; i < n_tiles; i++)
        n_tasks += a->n_head_kv * item_at(s, a, n_tiles, i * a->n_head_kv).n_splits;
    for (int64_t task; (task = next_chunk(team, thread, n_tasks)) >= 0;) {
        int64_t i = 0;
        struct item u = item_at(s, a, n_tiles, 0);
        for (; task >= u.n_splits; u = item_at(s, a, n_tiles, ++i))
            task -= u.n_splits;
        float *splits = s->scratch->shared + i * item_floats(a, s->scratch->n_ctx, s->kernels->lanes);
        attend_split(s, op, &u, task, splits + task * split_stride(a, u.n), thread);
        if (__atomic_add_fetch(&s->scratch->counter[i], 1, __ATOMIC_ACQ_REL) < u.n_splits)
            continue;
        s->scratch->counter[i] = 0;
        for (int split = 1; split < u.n_splits; split++)
            s->kernels->merge_split(splits + split * split_stride(a, u.n), u.n * (a->n_head / a->n_head_kv), a->head_dim, splits);
        finish_item(s, op, &u, splits, thread);
    }
    return team_barrier(team, thread);
}

/* Whether the splits of every item have room at once, and there are not so many items that these keep all threads busy. */
static int split_by_split(const struct step *s, const struct attention *a, int64_t n_tiles)
{
    if (n_tiles * a->n_head_kv > ITEMS_PER_THREAD * s->scratch->n_threads)
        return 0;
    for (int64_t i = 0; i < n_tiles; i++) {
        struct item u = item_at(s, a, n_tiles, i * a->n_head_kv);
        if (u.n_splits * split_stride(a, u.n) > item_floats(a, s->scratch->n_ctx, s->kernels->lanes))
            return 0;
    }
    return 1;
}

static int run_attention(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct attention *a = op->parameters;
    if (!rows_are_alone(s)) {
        for (int64_t row; (row = next_chunk(team, thread, s->n_tokens)) >= 0;) {
            rotate_queries(s, op, queries(s, op, row, 0), a->n_head, row);
            if (has_own_keys(a))
                append_heads(s, op, segment_of(s, row), row, 0, a->n_head_kv, s->scratch->thread[thread].floats);
        }
        if (team_barrier(team, thread))
            return 1;
    }
    int64_t n_tiles = count_tiles(s);
    return (split_by_split(s, a, n_tiles) ? run_splits : run_items)(s, op, n_tiles, team, thread);
}

static int fits_heads(struct vector norm, const struct attention *a)
{
    return !norm.data || norm.n <= a->head_dim;
}

/* Keys and values: slots of its own, or what an earlier attention left in the cache. */
static const char *check_keys(const struct plan *plan, const struct op *op)
{
    const struct attention *a = op->parameters;
    if (a->one_row && (op->n_in != V || a->v_norm.data || !has_own_keys(a)))
        return "keys, and no values of their own, where one row is both";
    if (a->v_norm.data && a->v_norm.n != a->head_dim)
        return "a norm of head_dim values for values";
    if (has_own_keys(a)) {
        for (int i = K; i < op->n_in; i++)
            if (plan->width[op->in[i]] % a->head_dim || plan->width[op->in[i]] / a->head_dim != a->n_head_kv)
                return "slots of n_head_kv heads for keys and values";
        return op->n_in > K ? NULL : "keys, or keys_of";
    }
    if (op->n_in != 1 || a->keys_of >= plan->n_ops || plan->op[a->keys_of].kind != op->kind)
        return "queries alone with keys_of, an attention before it";
    const struct attention *of = plan->op[a->keys_of].parameters;
    if (!has_own_keys(of) || of->one_row || of->n_head_kv != a->n_head_kv || of->head_dim != a->head_dim)
        return "keys_of an attention that has keys and values of its own, with heads as many and as long";
    return NULL;
}

static const char *check_attention(const struct plan *plan, const struct op *op)
{
    const struct attention *a = op->parameters;
    if (op->n_in < 1 || op->n_in > 3 || op->n_out != 1 || op->n_matrices != 0)
        return "queries, keys and values into one slot";
    if (a->n_head < 1 || a->n_head_kv < 1 || a->n_head % a->n_head_kv || a->head_dim < 1 || a->window < 0)
        return "as many query heads for every KV head, a window of 0 or more";
    int64_t n_q = plan->width[op->in[Q]];
    if (n_q % a->head_dim || n_q / a->head_dim != a->n_head || plan->width[op->out[0]] != n_q)
        return "slots of n_head heads for queries and result";
    if (a->rope < -1 || a->rope >= plan->n_ropes || a->rope_start < 0 || a->rope_start > a->head_dim ||
        (a->rope >= 0 && 2 * plan->rope[a->rope].n_pairs > a->head_dim - a->rope_start))
        return "a rope that fits the heads";
    if (!fits_heads(a->q_norm, a) || !fits_heads(a->k_norm, a) || !fits_heads(a->v_norm, a))
        return "norms of head_dim values at most";
    if (a->sinks.data && a->sinks.n != a->n_head)
        return "a sink for each query head";
    if (a->temperature_scale != 0 && a->temperature_length < 1)
        return "a temperature_length of 1 or more";
    return check_keys(plan, op);
}

static const struct field fields[] = {
    FIELD(INT, attention, n_head),
    FIELD(INT, attention, n_head_kv),
    FIELD(INT, attention, head_dim),
    FIELD(INT, attention, rope),
    FIELD(INT, attention, rope_start),
    FIELD(INT, attention, window),
    FIELD(INT, attention, temperature_length),
    FIELD(FLOAT, attention, temperature_scale),
    FIELD(FLOAT, attention, scale),
    FIELD(FLOAT, attention, head_eps),
    FIELD(FLOAT, attention, softcap),
    FIELD(INT, attention, norm_after_rope),
    FIELD(VECTOR, attention, q_norm),
    FIELD(VECTOR, attention, k_norm),
    FIELD(VECTOR, attention, v_norm),
    FIELD(INT, attention, keys_of),
    FIELD(INT, attention, one_row),
    FIELD(VECTOR, attention, sinks),
    {0},
};

const struct operation op_attention = {
    .name = "attention", .fields = fields, .parameter_bytes = sizeof(struct attention), .run = run_attention,
    .check = check_attention, .scratch = attention_need, .position_rows = attention_rows,
};
