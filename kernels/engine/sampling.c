#include "sampling.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include "engine/log_sum.h"
#include "threads/pool.h"

enum { BLOCK = 64, LANES = 16 };

/* Whether a comes after b in the order of the result. */
static int worse(const float *x, int32_t a, int32_t b)
{
    return x[a] < x[b] || (x[a] == x[b] && a > b);
}

/* ids[0 .. n-1] is a heap with its worst on top, but for ids[at], which sinks to its place. */
static void sink(const float *x, int32_t *ids, int64_t n, int64_t at)
{
    int32_t id = ids[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && worse(x, ids[child + 1], ids[child]))
            child++;
        if (!worse(x, ids[child], id))
            break;
        ids[at] = ids[child];
    }
    ids[at] = id;
}

/* Largest of x[n], n <= BLOCK; lane by lane, which compilers make vectors of. */
static float block_max(const float *x, int64_t n, int *bad)
{
    float max[LANES], rest[BLOCK];
    int not_finite[LANES] = {0};
    if (n < BLOCK) {
        for (int64_t i = 0; i < BLOCK; i++)
            rest[i] = i < n ? x[i] : -INFINITY;
        x = rest;
    }
    for (int j = 0; j < LANES; j++)
        max[j] = -INFINITY;
    for (int64_t i = 0; i < BLOCK; i += LANES) {
        for (int j = 0; j < LANES; j++) {
            max[j] = x[i + j] > max[j] ? x[i + j] : max[j];
            not_finite[j] |= !(x[i + j] <= FLT_MAX);
        }
    }
    for (int j = 1; j < LANES; j++) {
        max[0] = max[j] > max[0] ? max[j] : max[0];
        not_finite[0] |= not_finite[j];
    }
    *bad |= not_finite[0];
    return max[0];
}

/* One pass: most blocks hold nothing that the k best so far would give way to, which the maximum of a block tells. */
int top_k(const float *x, int64_t n, int64_t k, int32_t *ids)
{
    int bad = 0;
    for (int64_t i = 0; i < k; i++) {
        ids[i] = i;
        bad |= !(x[i] <= FLT_MAX);
    }
    for (int64_t i = k / 2 - 1; i >= 0; i--)
        sink(x, ids, k, i);
    for (int64_t first = k; first < n; first += BLOCK) {
        int64_t last = first + BLOCK < n ? first + BLOCK : n;
        if (block_max(x + first, last - first, &bad) <= x[ids[0]])
            continue;
        for (int64_t i = first; i < last; i++) {
            if (x[i] > x[ids[0]]) {
                ids[0] = i;
                sink(x, ids, k, 0);
            }
        }
    }
    for (int64_t left = k - 1; left > 0; left--) {           /* heap sort: the worst goes last */
        int32_t id = ids[0];
        ids[0] = ids[left];
        ids[left] = id;
        sink(x, ids, left, 0);
    }
    return bad || x[ids[0]] == -INFINITY;
}

void log_softmax_of(const struct kernels *kernels, const float *x, int64_t n, const int32_t *ids, int64_t n_ids, float *logprobs)
{
    struct log_sum sum = {-INFINITY, 0};
    for (int64_t chunk = 0; chunk < n; chunk += VOCABULARY_CHUNK) {
        struct log_sum of_chunk = {-INFINITY, 0};
        int64_t end = chunk + VOCABULARY_CHUNK < n ? chunk + VOCABULARY_CHUNK : n;
        for (int64_t i = chunk; i < end; i += PANEL_ROWS) {
            struct log_sum panel;
            kernels->max_sum_exp(x + i, end - i < PANEL_ROWS ? end - i : PANEL_ROWS, &panel.max, &panel.sum);
            log_sum_add(&of_chunk, panel);
        }
        log_sum_add(&sum, of_chunk);
    }
    for (int64_t i = 0; i < n_ids; i++)
        logprobs[i] = log_probability(x[ids[i]], sum);
}

/* Index of one of the logits x[n], the candidates, largest first. total: what exp(x[i] - x[0]) is a probability of. */
static int64_t draw_candidate(const float *x, int64_t n, double total, const struct draw *how)
{
    int64_t kept = 0, first = 0;
    double reached = 0, sum = 0;
    while (kept < n && (kept == 0 || reached < how->top_p * total)) {
        double share = exp((double)x[kept] - x[0]);
        if (share < how->min_p)
            break;
        reached += share;
        kept++;
    }
    while (first + 1 < kept && exp((double)x[first + 1] - x[0]) >= how->xtc * reached)
        first++;
    if (how->temperature <= 0)
        return first;
    for (int64_t i = first; i < kept; i++)
        sum += exp(((double)x[i] - x[first]) / how->temperature);
    double target = how->uniform * sum, so_far = 0;
    for (int64_t i = first; i < kept; i++) {
        so_far += exp(((double)x[i] - x[first]) / how->temperature);
        if (so_far > target)
            return i;
    }
    return first;              /* uniform rounded up to the very end */
}

/* How many of the largest logits top_p and min_p may keep. Tokens below (1 - top_p) / n sum to less than 1 - top_p: what top_p needs lies
 * above. Slack covers rounding. */
static int64_t n_candidates(const float *x, int64_t n, float max, double total, const struct draw *how)
{
    double share = fmax((1 - how->top_p) * total / n, how->min_p);
    float floor = share > 0 ? (float)(max + log(share) - 0.001) : -INFINITY;
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        count += x[i] >= floor;
    return count ? count : 1;
}

static int32_t draw_row(const struct draws *d, const float *x, const struct draw *how)
{
    int64_t n = d->n_vocab, k = how->top_k;
    int greedy = how->temperature <= 0 && how->xtc > 1, of_all = k <= 0 || k >= n;
    double total = 0;
    if (greedy || of_all) {
        int32_t best;
        float max;
        if (top_k(x, n, 1, &best))
            return DRAW_NOT_FINITE;
        if (greedy)
            return best;
        d->kernels->max_sum_exp(x, n, &max, &total);
        k = n_candidates(x, n, max, total, how);
    }
    int32_t *ids = malloc(k * sizeof *ids), token = DRAW_NO_MEMORY;
    float *largest = malloc(k * sizeof *largest);
    if (ids && largest) {
        token = DRAW_NOT_FINITE;
        if (!top_k(x, n, k, ids)) {
            for (int64_t i = 0; i < k; i++)
                largest[i] = x[ids[i]];
            for (int64_t i = 0; i < k && !of_all; i++)
                total += exp((double)largest[i] - largest[0]);
            token = ids[draw_candidate(largest, k, total, how)];
        }
    }
    free(ids);
    free(largest);
    return token;
}

static void run_draws(struct team *team, int thread, void *arg)
{
    struct draws *d = arg;
    for (int64_t i; (i = next_chunk(team, thread, d->n_rows)) >= 0;)
        d->token[i] = draw_row(d, d->row[i], &d->how[i]);
    team_barrier(team, thread);
}

int draw_rows(struct draws *draws, int n_threads, int (*poll)(void *), void *poll_arg)
{
    if (draws->n_rows == 1) {                                /* as for each token of a single conversation: needs no team */
        *draws->token = draw_row(draws, *draws->row, draws->how);
        return 0;
    }
    return pool_run(n_threads, run_draws, draws, poll, poll_arg);
}

/* Most words are 0: a store without a look at the logits. */
int mask_logits(float *x, int64_t n, const uint32_t *words)
{
    int left = 0;
    for (int64_t first = 0; first < n; first += 32) {
        uint32_t word = words[first / 32];
        int64_t last = first + 32 < n ? first + 32 : n;
        if (word == UINT32_MAX && left)
            continue;
        for (int64_t i = first; i < last && word == 0; i++)
            x[i] = -INFINITY;
        for (int64_t i = first; i < last && word != 0; i++) {
            if (word >> (i - first) & 1)
                left |= x[i] != -INFINITY;
            else
                x[i] = -INFINITY;
        }
    }
    return left;
}
