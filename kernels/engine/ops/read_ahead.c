/* A model larger than memory: routed experts are asked for as soon as they are chosen, so that the disk has many requests at a time,
 * and not one for each thread that waits for a page. A prompt goes to nearly all of them, one behind the other, which Linux reads ahead by itself. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>
#include "experts.h"

/* What Linux reads for one request by default: of a longer one perhaps no more than the start (read_ahead_kb, max_sectors_kb). */
enum { REQUEST_BYTES = 128 << 10 };

/* All rows of one expert. Where they are no pages of a file, nothing happens. */
static void ask_for(const struct matrix *m, int64_t n_expert, int64_t expert)
{
    int64_t rows = m->weight.rows / n_expert;
    uintptr_t start = (uintptr_t)expert_matrix(m, n_expert, expert, 0, rows).weight.data, page = sysconf(_SC_PAGESIZE);
    uintptr_t end = start + rows * row_bytes(m->weight.format, m->weight.cols);
    for (uintptr_t at = start & ~(page - 1); at < end; at += REQUEST_BYTES)
        madvise((void *)at, end - at < REQUEST_BYTES ? end - at : REQUEST_BYTES, MADV_WILLNEED);
}

/* The operation that reads the routing which `up` writes, operand 1 of both, or NULL. */
static const struct op *second_half(const struct plan *plan, const struct op *up)
{
    for (const struct op *op = up + 1; op < plan->op + plan->n_ops; op++)
        if (op->kind == &op_experts_down && op->in[1] == up->out[1])
            return op;
    return NULL;
}

/* All rows of the groups' experts in each of n matrices. */
static void ask_for_groups(const struct matrix *m, int n, int64_t n_expert, const struct expert_group *first,
                           const struct expert_group *end)
{
    for (const struct expert_group *g = first; g < end && g->expert < n_expert; g++)
        for (int i = 0; i < n; i++)
            ask_for(&m[i], n_expert, g->expert);
}

void read_ahead(const struct plan *plan, const struct op *up, int n, const struct routing *routing, const struct team *team, int thread)
{
    int64_t n_expert = ((const struct experts_up *)up->parameters)->n_expert;
    const struct op *down = second_half(plan, up);
    const struct expert_group *first = routing->group + routing->n_groups * thread / team_size(team);
    const struct expert_group *end = routing->group + routing->n_groups * (thread + 1) / team_size(team);
    ask_for_groups(up->matrix, n, n_expert, first, end);
    if (down)
        ask_for_groups(down->matrix, 1, n_expert, first, end);
}
