/* One step of a plan: the loop over operations, run by a team of threads in one region. */
#include <string.h>
#include "ops.h"

static int run_embed(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct weight *w = &op->target[0].weight;
    int64_t stride = s->plan->width[op->target[0].slot];
    for (int64_t t; (t = team_next(team, thread, s->n_tokens)) >= 0;) {
        float *x = s->scratch->slot[op->target[0].slot] + t * stride;
        s->kernels->to_float[w->format](w->data + s->token[t] * row_bytes(w->format, w->cols), w->cols, x);
        if (op->scale != 1)
            s->kernels->scale(x, op->scale, w->cols);
    }
    return team_barrier(team, thread);
}

static int run_norm(struct step *s, const struct op *op, struct team *team, int thread)
{
    int slot = op->target[0].slot;
    int64_t n = s->plan->width[slot];
    float *row = s->scratch->thread[thread].row;
    for (int64_t t; (t = team_next(team, thread, s->n_tokens)) >= 0;) {
        float *dst = s->scratch->slot[slot] + t * n;
        const float *src = s->scratch->slot[op->src] + t * n;
        s->kernels->rms_norm(src, op->norm, n, op->eps, op->accumulate ? row : dst);
        if (op->accumulate)
            s->kernels->add(dst, row, n);
    }
    return team_barrier(team, thread);
}

static void run_ops(struct step *s, struct team *team, int thread)
{
    static int (*const run[])(struct step *, const struct op *, struct team *, int) = {
        [OP_EMBED] = run_embed, [OP_LINEAR] = run_linear, [OP_GATED] = run_gated,
        [OP_ATTENTION] = run_attention, [OP_NORM] = run_norm,
    };
    if (s->first_op < s->last_op)
        fill_rope_tables(s, team, thread);
    for (int i = s->first_op; i < s->last_op; i++)
        if (run[s->plan->op[i].kind](s, &s->plan->op[i], team, thread))
            return;
    if (s->head != HEAD_NONE)
        run_head(s, team, thread);
}

static void run_all(struct team *team, int thread, void *arg)
{
    struct step *s = arg;
    *s->scratch->thread[thread].weight_bytes = 0;
    struct sigbus_guard before = sigbus_set_guard(
        (struct sigbus_guard){s->plan->weight_range, s->plan->n_weight_ranges, &s->unreadable});
    run_ops(s, team, thread);
    sigbus_set_guard(before);
    if (thread == 0)
        team_counts(team, &s->n_barriers, &s->n_chunks);
}

int step_run(struct step *s, int (*poll)(void *), void *poll_arg)
{
    s->finite = 1;
    memset(s->scratch->parts_done, 0, s->scratch->n_units * sizeof(int));    /* a cancelled step may have left some */
    int status = pool_run(s->scratch->n_threads, run_all, s, poll, poll_arg);
    for (int i = 0; i < s->scratch->n_threads; i++)
        s->weight_bytes += *s->scratch->thread[i].weight_bytes;
    return status;
}
