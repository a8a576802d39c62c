/* Which experts a token goes to, and the tokens of a step grouped by expert. */
#include <string.h>
#include "experts.h"

#define LEAST_SUM 6.103515625e-5f       /* of weights that are renormalized: the least normal number of F16, as in llama.cpp */

/* ---- the router ---- */

/* out = exp(x - max) / sum of them. */
static void softmax(const float *x, int64_t n, float *out)
{
    float max = -INFINITY;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        max = fmaxf(max, x[i]);
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)x[i] - max);
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)(exp((double)x[i] - max) / sum);
}

/* The index of the greatest of x that is no NaN, of equal ones the first. */
static int64_t greatest(const float *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best] || (isnan(x[best]) && !isnan(x[i])))
            best = i;
    return best;
}

/* The sum of the two greatest. */
static float group_score(const float *x, int64_t n)
{
    float first = -INFINITY, second = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        second = fmaxf(second, fminf(first, x[i]));
        first = fmaxf(first, x[i]);
    }
    return n > 1 ? first + second : first;
}

/* Leaves the scores of the best groups, and -infinity elsewhere. */
static void mask_groups(const struct experts_up *p, float *scores)
{
    int64_t n = p->n_expert / p->n_group;
    for (int64_t left_out = p->n_group - p->n_group_used; left_out > 0; left_out--) {
        int64_t worst = -1;
        float least = INFINITY;
        for (int64_t g = 0; g < p->n_group; g++) {
            float score = group_score(scores + g * n, n);
            if (score > -INFINITY && score <= least) {
                worst = g;
                least = score;
            }
        }
        for (int64_t i = 0; worst >= 0 && i < n; i++)
            scores[worst * n + i] = -INFINITY;
    }
}

/* The n_used greatest scores, each once, in ascending order of index; what is taken becomes NaN. */
static void take_greatest(const struct experts_up *p, float *scores, float *chosen)
{
    for (int64_t i = 0; i < p->n_used; i++) {
        int64_t best = greatest(scores, p->n_expert), at = i;
        for (; at > 0 && chosen[at - 1] > best; at--)
            chosen[at] = chosen[at - 1];
        chosen[at] = best;
        scores[best] = NAN;
    }
}

static void weigh_chosen(const struct experts_up *p, const float *probability, float *chosen)
{
    float *weight = chosen + p->n_used, sum = 0;
    for (int64_t i = 0; i < p->n_used; i++)
        weight[i] = probability[(int64_t)chosen[i]];
    if (p->gating == SOFTMAX_OF_CHOSEN)
        softmax(weight, p->n_used, weight);
    for (int64_t i = 0; i < p->n_used; i++)
        sum += weight[i];
    for (int64_t i = 0; i < p->n_used; i++)
        weight[i] = weight[i] * p->weights_scale / (p->renormalize ? fmaxf(sum, LEAST_SUM) : 1);
}

void choose_experts(const struct experts_up *p, const float *z, float shared, float *memory, float *chosen)
{
    float *probability = memory, *scores = memory + p->n_expert;
    if (p->gating == SOFTMAX)
        softmax(z, p->n_expert, probability);
    else
        for (int64_t e = 0; e < p->n_expert; e++)
            probability[e] = p->gating == SIGMOID ? sigmoid(z[e]) : z[e];
    int bad = 0;
    for (int64_t e = 0; e < p->n_expert; e++) {
        scores[e] = probability[e] + (p->selection_bias.data ? p->selection_bias.data[e] : 0);
        if (!isfinite(z[e]) || !isfinite(scores[e])) {
            scores[e] = -INFINITY;
            bad = 1;
        }
    }
    if (p->n_group > 1)
        mask_groups(p, scores);
    take_greatest(p, scores, chosen);
    weigh_chosen(p, probability, chosen);
    if (bad)
        chosen[p->n_used] = NAN;        /* so that the step ends as one whose result is not finite */
    chosen[2 * p->n_used] = shared;
}

/* ---- the groups ---- */

static int64_t most_groups(int64_t n_expert, int64_t n_used, int n_tokens)
{
    return (n_expert < n_used * n_tokens ? n_expert : n_used * n_tokens) + 1;
}

static int64_t group_floats(int64_t n_groups)
{
    return (n_groups * sizeof(struct expert_group) + 63) / 64 * 16;
}

int64_t routing_floats(int64_t n_expert, int64_t n_used, int n_tokens)
{
    return group_floats(most_groups(n_expert, n_used, n_tokens)) + n_expert + 2 * (n_used + 1) * n_tokens;
}

static void add_group(struct routing *out, int64_t expert, int n, const int32_t *token, const int32_t *pair)
{
    out->group[out->n_groups++] = (struct expert_group){.expert = expert, .n = n, .token = token, .pair = pair};
}

/* A counting sort: `next` is first how many tokens an expert has, then where its next one goes. */
void group_by_expert(const float *chosen, int n_tokens, int64_t n_expert, int64_t n_used, int shared, float *memory,
                     struct routing *out)
{
    int32_t *next = (int32_t *)(memory + group_floats(most_groups(n_expert, n_used, n_tokens)));
    int32_t *token = next + n_expert, *pair = token + (n_used + 1) * n_tokens;
    int64_t width = routing_width(n_used), n_pairs = 0;
    *out = (struct routing){.group = (struct expert_group *)memory};
    memset(next, 0, n_expert * sizeof *next);
    for (int t = 0; t < n_tokens; t++)
        for (int i = 0; i < n_used; i++)
            next[(int64_t)chosen[t * width + i]]++;
    for (int64_t e = 0; e < n_expert; e++) {
        int32_t n = next[e];
        next[e] = n_pairs;
        if (n > 0)
            add_group(out, e, n, token + n_pairs, pair + n_pairs);
        n_pairs += n;
    }
    for (int t = 0; t < n_tokens; t++) {
        for (int i = 0; i < n_used; i++) {
            int32_t at = next[(int64_t)chosen[t * width + i]]++;
            token[at] = t;
            pair[at] = t * n_used + i;
        }
        token[n_pairs + t] = pair[n_pairs + t] = t;
    }
    if (shared)
        add_group(out, n_expert, n_tokens, token + n_pairs, pair + n_pairs);
}

/* Rows that a group takes of the shared memory: whole tiles. */
static int64_t room(int n_tokens, int lanes)
{
    return (n_tokens + lanes - 1) / lanes * lanes;
}

int64_t prepared_values(int64_t n_expert, int64_t n_used, int64_t cols, struct step_size size)
{
    return (n_used * size.n_batch + most_groups(n_expert, n_used, size.n_batch) * (size.lanes - 1)) * cols;
}

int prepare_groups(struct step *s, struct routing *routing, struct team *team, int thread)
{
    int64_t n_tasks = 0, at = 0;
    for (struct expert_group *g = routing->group; g < routing->group + routing->n_groups; g++) {
        g->in.at = prepared_behind(s, at);
        at += room(g->n, s->kernels->lanes) * g->in.cols;
        g->end = n_tasks += prepare_tasks(s, &g->in);
    }
    for (int64_t task; (task = next_chunk(team, thread, n_tasks)) >= 0;) {
        const struct expert_group *g = group_of(routing, &task);
        prepare_task(s, &g->source, &g->in, task, thread);
    }
    return team_barrier(team, thread);
}
