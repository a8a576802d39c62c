/* One step of a plan: the loop over operations, run by a team of threads in one region. What runs between two barriers is up to
 * each operation (ops/): it ends with one, and has more where its threads need each other's results. */
#include <string.h>
#include "operation.h"

static void run_ops(struct step *s, struct team *team, int thread)
{
    if (s->first_op < s->last_op)
        fill_rope_tables(s, team, thread);
    for (int i = s->first_op; i < s->last_op; i++)
        if (s->plan->op[i].kind->run(s, &s->plan->op[i], team, thread))
            return;
    if (s->head != HEAD_NONE)
        s->plan->head.kind->run(s, &s->plan->head, team, thread);
}

static void run_all(struct team *team, int thread, void *arg)
{
    struct step *s = arg;
    *s->scratch->thread[thread].weight_bytes = 0;
    run_ops(s, team, thread);
    if (thread == 0)
        team_counts(team, &s->n_barriers, &s->n_chunks);
}

int step_run(struct step *s, int (*poll)(void *), void *poll_arg)
{
    s->finite = 1;
    memset(s->scratch->counter, 0, s->scratch->n_counters * sizeof(int));    /* a cancelled step may have left some */
    int status = pool_run(s->scratch->n_threads, run_all, s, poll, poll_arg);
    for (int i = 0; i < s->scratch->n_threads; i++)
        s->weight_bytes += *s->scratch->thread[i].weight_bytes;
    return status;
}
