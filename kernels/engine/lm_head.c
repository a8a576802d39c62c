/* The end of a model: logits of the rows asked for, or the log-probability of one wanted token a row.
 *
 * Log-probabilities never need n_rows x n_vocab logits: the vocabulary is walked in chunks, each keeping
 * (max, sum of exp) a row. Chunks are a fixed part of the vocabulary and are merged in order, so the result does not
 * depend on the number of threads. */
#include <math.h>
#include <string.h>
#include "ops.h"

enum { VOCABULARY_CHUNK = 1024 };

int64_t head_chunks(const struct plan *plan)
{
    return (plan->output.rows + VOCABULARY_CHUNK - 1) / VOCABULARY_CHUNK;
}

static int all_finite(const float *x, int64_t n)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], 4);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

static void soften(float *x, int n, float cap)
{
    for (int i = 0; i < n; i++)
        x[i] = cap * tanhf(x[i] / cap);
}

/* Logits of vocabulary rows row0 .. row0 + n - 1 for all head rows, [n_head_rows][n], into the thread's scratch. Whether all are
 * finite is seen here, before softcap would make a plain number of infinity, or a sum of exponentials nothing of -infinity. */
static float *logits_panel(struct step *s, struct input in, int64_t row0, int n, int thread)
{
    float *out = s->scratch->thread[thread].out;
    multiply_panel(s, &s->plan->output, row0, n, in, thread, out, n);
    if (!all_finite(out, (int64_t)n * s->n_head_rows))
        __atomic_store_n(&s->finite, 0, __ATOMIC_RELAXED);
    if (s->plan->softcap > 0)
        soften(out, s->n_head_rows * n, s->plan->softcap);
    return out;
}

static int run_logits(struct step *s, struct input in, struct team *team, int thread)
{
    int64_t n_vocab = s->plan->output.rows, rows = chunk_rows(s, &s->plan->output, in.n_tokens);
    for (int64_t chunk; (chunk = team_next(team, thread, (n_vocab + rows - 1) / rows)) >= 0;) {
        int64_t row0 = chunk * rows;
        int n = n_vocab - row0 < rows ? n_vocab - row0 : rows;
        const float *out = logits_panel(s, in, row0, n, thread);
        for (int t = 0; t < s->n_head_rows; t++)
            memcpy(s->logits + t * n_vocab + row0, out + t * n, n * sizeof(float));
    }
    return team_barrier(team, thread);
}

static void add_to_partial(float *max, double *sum, float other_max, double other_sum)
{
    if (other_max > *max) {
        *sum = *sum * exp((double)*max - other_max) + other_sum;
        *max = other_max;
    } else {
        *sum += other_sum * exp((double)other_max - *max);
    }
}

static void log_chunk(struct step *s, struct input in, int64_t chunk, int thread)
{
    struct scratch *mem = s->scratch;
    int64_t n_vocab = s->plan->output.rows, rows = chunk_rows(s, &s->plan->output, in.n_tokens), at = chunk * mem->n_batch;
    int64_t row0 = chunk * VOCABULARY_CHUNK;
    int64_t end = row0 + VOCABULARY_CHUNK < n_vocab ? row0 + VOCABULARY_CHUNK : n_vocab;
    for (int t = 0; t < s->n_head_rows; t++) {
        mem->partial_max[at + t] = -INFINITY;
        mem->partial_sum[at + t] = 0;
    }
    for (; row0 < end; row0 += rows) {
        int n = end - row0 < rows ? end - row0 : rows;
        const float *out = logits_panel(s, in, row0, n, thread);
        for (int t = 0; t < s->n_head_rows; t++, out += n) {
            float max;
            double sum;
            s->kernels->max_sum_exp(out, n, &max, &sum);
            add_to_partial(&mem->partial_max[at + t], &mem->partial_sum[at + t], max, sum);
            if (s->wanted[t] >= row0 && s->wanted[t] < row0 + n)
                s->logprob[t] = out[s->wanted[t] - row0];
        }
    }
}

static int run_logprob(struct step *s, struct input in, struct team *team, int thread)
{
    struct scratch *mem = s->scratch;
    int64_t n_chunks = head_chunks(s->plan);
    for (int64_t chunk; (chunk = team_next(team, thread, n_chunks)) >= 0;)
        log_chunk(s, in, chunk, thread);
    if (team_barrier(team, thread))
        return 1;
    if (thread == 0) {
        for (int t = 0; t < s->n_head_rows; t++) {
            float max = -INFINITY;
            double sum = 0;
            for (int64_t c = 0; c < n_chunks; c++)
                add_to_partial(&max, &sum, mem->partial_max[c * mem->n_batch + t],
                               mem->partial_sum[c * mem->n_batch + t]);
            s->logprob[t] = (float)(s->logprob[t] - max - log(sum));
        }
        if (!all_finite(s->logprob, s->n_head_rows))
            s->finite = 0;
    }
    return 0;
}

int run_head(struct step *s, struct team *team, int thread)
{
    const struct plan *p = s->plan;
    struct input in = {.n_tokens = s->n_head_rows, .cols = p->output.cols};
    add_need(s, &p->output, &in);
    if (prepare(s, s->scratch->slot[p->src], p->width[p->src], s->head_row, p->norm, p->eps, in, team, thread))
        return 1;
    return s->head == HEAD_LOGITS ? run_logits(s, in, team, thread) : run_logprob(s, in, team, thread);
}
