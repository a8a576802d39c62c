/* Routed experts (mixture of experts): what the two operations share, experts_up.c and experts_down.c. Who goes where is decided in
 * routing.c.
 *
 * A token goes to n_used of n_expert feed-forward networks, and to the shared one if there is any. The pairs (token, expert) are
 * grouped by expert, so that the tokens of a step that share an expert share its unpacking, and each group is a matrix product of
 * its own. A group is computed as any batch of its size is: its bits do not depend on who else is in it. */
#ifndef SUBBYTE_EXPERTS_H
#define SUBBYTE_EXPERTS_H
#include "engine/operation.h"

enum { SOFTMAX, SIGMOID, SOFTMAX_OF_CHOSEN };
enum { MAX_EXPERTS = 1 << 24 };         /* ids are floats in the routing slot */

/* Parameters of experts_up. */
struct experts_up {
    int64_t n_expert, n_used;
    int64_t gating;             /* what makes probabilities of the router's logits */
    int64_t n_group, n_group_used; /* experts lie in groups, and only those of the best groups can be chosen; 1: no groups */
    int64_t renormalize;        /* the weights of the chosen add up to 1 */
    float weights_scale;
    struct vector selection_bias; /* [n_expert] or none: added where experts are chosen, not in their weights */
    int64_t activation;
    int64_t fused;              /* the rows of each expert's gate are followed by those of its up, in one matrix */
    struct vector gate_scale, up_scale; /* [n_expert] or none: factors of each expert's products */
};

/* The router's choice for a token: a row of the routing slot from the logits z [n_expert]. memory: 2 * n_expert floats. */
void choose_experts(const struct experts_up *p, const float *z, float shared, float *memory, float *chosen);

/* A row of the routing slot: n_used expert ids in ascending order, their weights, and the weight of the shared expert. */
static inline int64_t routing_width(int64_t n_used) { return 2 * n_used + 1; }

/* The tokens of one expert. */
struct expert_group {
    int64_t expert;             /* the shared one is n_expert */
    int n;
    const int32_t *token;       /* [n] rows of the step, ascending */
    const int32_t *pair;        /* [n] rows of the hidden slot: token * n_used + which of its experts this is; of the shared: token */
    struct source source;
    struct input in;
    int64_t end;                /* the last task of the group, and 1, in a loop over all groups */
};

struct routing {
    struct expert_group *group; /* [n_groups] by expert, ascending */
    int n_groups;
};

/* The groups of n_tokens rows of the routing slot at `chosen`, in memory of routing_floats floats; shared: whether there is a shared
 * expert. Every thread does it for itself, which is cheaper than a barrier. */
void group_by_expert(const float *chosen, int n_tokens, int64_t n_expert, int64_t n_used, int shared, float *memory,
                     struct routing *out);
int64_t routing_floats(int64_t n_expert, int64_t n_used, int n_tokens);
/* Of each group: makes its source ready in memory that all threads share. Ends with a barrier, whose answer it returns. */
int prepare_groups(struct step *s, struct routing *routing, struct team *team, int thread);
/* Values that prepare_groups needs for rows of `cols`, the shared expert apart. */
int64_t prepared_values(int64_t n_expert, int64_t n_used, int64_t cols, struct step_size size);

/* The group that a task belongs to, by `end`; `task` becomes its number within the group. */
static inline struct expert_group *group_of(const struct routing *routing, int64_t *task)
{
    struct expert_group *g = routing->group;
    while (*task >= g->end)
        g++;
    if (g > routing->group)
        *task -= g[-1].end;
    return g;
}

/* The matrix of one expert: rows first .. first + n - 1 of those that each of n_expert has in m. */
static inline struct matrix expert_matrix(const struct matrix *m, int64_t n_expert, int64_t expert, int64_t first, int64_t n)
{
    int64_t row = expert * (m->weight.rows / n_expert) + first;
    return (struct matrix){
        .weight = {m->weight.data + row * row_bytes(m->weight.format, m->weight.cols), m->weight.format, n, m->weight.cols},
        .bias = m->bias ? m->bias + row : NULL,
    };
}

/* out[t][n] = rows row0 .. row0 + n - 1 of m times the tokens of a group; scale: a factor of the products, before the bias. */
static inline void multiply_expert(struct step *s, const struct matrix *m, const float *scale, int64_t row0, int n,
                                   const struct input *in, int thread, float *out)
{
    multiply_panel(s, &m->weight, row0, n, in, thread, out, n);
    if (scale)
        s->kernels->scale(out, *scale, (int64_t)in->n_tokens * n);
    for (int t = 0; m->bias && t < in->n_tokens; t++)
        s->kernels->add(out + t * n, m->bias + row0, n);
}

/* ---- read_ahead.c ---- */

extern const struct operation op_experts_down;

/* Asks for the rows of the groups' experts in the first n matrices of `up`, and in those of its second half, which are needed soon
 * after: each thread for those of the groups that its chunks begin with. */
void read_ahead(const struct plan *plan, const struct op *up, int n, const struct routing *routing, const struct team *team, int thread);

#endif
