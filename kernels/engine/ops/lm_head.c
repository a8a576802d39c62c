/* The end of a model: logits of the rows asked for, or the log-probability of one wanted token a row.
 *
 * Log-probabilities never need n_rows x n_vocab logits: the vocabulary is walked in chunks, each keeping
 * (max, sum of exp) a row. Chunks, and the panels that they consist of, are fixed parts of the vocabulary and are merged in order, so
 * the result depends neither on the number of rows nor on that of threads. */
#include <math.h>
#include <string.h>
#include "engine/log_sum.h"
#include "engine/operation.h"

struct lm_head {
    float scale;                /* of the logits */
    float softcap;              /* logits become softcap * tanh(logits / softcap), if > 0 */
};

static int64_t vocabulary_chunks(const struct op *op)
{
    return (op->matrix[0].weight.rows + VOCABULARY_CHUNK - 1) / VOCABULARY_CHUNK;
}

static const struct weight *output(const struct step *s)
{
    return &s->plan->head.matrix[0].weight;
}

/* Of each chunk and row, [vocabulary chunks][n_batch]. */
static struct log_sum *partial_sums(const struct step *s) { return (struct log_sum *)s->scratch->shared; }

static struct scratch_need lm_head_need(const struct op *op, struct step_size size)
{
    return (struct scratch_need){.shared_floats = sizeof(struct log_sum) / sizeof(float) * vocabulary_chunks(op) * size.n_batch};
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

/* Logits, scaled, of vocabulary rows row0 .. row0 + n - 1 for all head rows, [n_head_rows][n], into the thread's scratch. Whether all are
 * finite is seen here, before softcap would make a plain number of infinity, or a sum of exponentials nothing of -infinity. */
static float *logits_panel(struct step *s, const struct input *in, int64_t row0, int n, int thread)
{
    float *out = s->scratch->thread[thread].out;
    const struct lm_head *p = s->plan->head.parameters;
    multiply_panel(s, output(s), row0, n, in, thread, out, n);
    if (p->scale != 1)
        s->kernels->scale(out, p->scale, (int64_t)n * s->n_head_rows);
    if (!all_finite(out, (int64_t)n * s->n_head_rows))
        __atomic_store_n(&s->finite, 0, __ATOMIC_RELAXED);
    if (p->softcap > 0)
        soften(out, s->n_head_rows * n, p->softcap);
    return out;
}

static int run_logits(struct step *s, const struct input *in, struct team *team, int thread)
{
    int64_t n_vocab = output(s)->rows, rows = chunk_rows(s, output(s), in->n_tokens);
    for (int64_t chunk; (chunk = next_chunk(team, thread, (n_vocab + rows - 1) / rows)) >= 0;) {
        int64_t row0 = chunk * rows;
        int n = n_vocab - row0 < rows ? n_vocab - row0 : rows;
        const float *out = logits_panel(s, in, row0, n, thread);
        for (int t = 0; t < s->n_head_rows; t++)
            memcpy(s->logits + t * n_vocab + row0, out + t * n, n * sizeof(float));
    }
    return team_barrier(team, thread);
}

static void log_chunk(struct step *s, const struct input *in, int64_t chunk, int thread)
{
    int64_t n_vocab = output(s)->rows, rows = PANEL_ROWS;
    int64_t row0 = chunk * VOCABULARY_CHUNK;
    struct log_sum *sums = partial_sums(s) + chunk * s->scratch->n_batch;
    int64_t end = row0 + VOCABULARY_CHUNK < n_vocab ? row0 + VOCABULARY_CHUNK : n_vocab;
    for (int t = 0; t < s->n_head_rows; t++)
        sums[t] = (struct log_sum){-INFINITY, 0};
    for (; row0 < end; row0 += rows) {
        int n = end - row0 < rows ? end - row0 : rows;
        const float *out = logits_panel(s, in, row0, n, thread);
        for (int t = 0; t < s->n_head_rows; t++, out += n) {
            struct log_sum panel;
            s->kernels->max_sum_exp(out, n, &panel.max, &panel.sum);
            log_sum_add(&sums[t], panel);
            if (s->wanted[t] >= row0 && s->wanted[t] < row0 + n)
                s->logprob[t] = out[s->wanted[t] - row0];
        }
    }
}

static int run_logprob(struct step *s, const struct input *in, struct team *team, int thread)
{
    int64_t n_chunks = vocabulary_chunks(&s->plan->head), n_batch = s->scratch->n_batch;
    for (int64_t chunk; (chunk = next_chunk(team, thread, n_chunks)) >= 0;)
        log_chunk(s, in, chunk, thread);
    if (team_barrier(team, thread))
        return 1;
    if (thread == 0) {
        for (int t = 0; t < s->n_head_rows; t++) {
            struct log_sum sum = {-INFINITY, 0};
            for (int64_t c = 0; c < n_chunks; c++)
                log_sum_add(&sum, partial_sums(s)[c * n_batch + t]);
            s->greedy[t] = s->logprob[t] == sum.max;
            s->logprob[t] = log_probability(s->logprob[t], sum);
        }
        if (!all_finite(s->logprob, s->n_head_rows))
            s->finite = 0;
    }
    return 0;
}

static int run_lm_head(struct step *s, const struct op *op, struct team *team, int thread)
{
    const struct weight *w = &op->matrix[0].weight;
    struct input in = {.n_tokens = s->n_head_rows, .cols = w->cols};
    add_need(s, w, &in);
    struct source hidden = {s->scratch->slot[op->in[0]], s->plan->width[op->in[0]], s->head_row, op->norm, op->eps};
    if (prepare(s, &hidden, &in, team, thread))
        return 1;
    return s->head == HEAD_LOGITS ? run_logits(s, &in, team, thread) : run_logprob(s, &in, team, thread);
}

static const char *check_lm_head(const struct plan *plan, const struct op *op)
{
    if (op->n_in != 1 || op->n_out != 0 || op->n_matrices != 1 || op->matrix[0].bias)
        return "one matrix without a bias, times one slot";
    const struct weight *w = &op->matrix[0].weight;
    return w->cols == plan->width[op->in[0]] && w->rows <= INT32_MAX ? NULL : "rows as long as the slot is wide";
}

static const struct field fields[] = {FIELD(FLOAT, lm_head, scale), FIELD(FLOAT, lm_head, softcap), {0}};

const struct operation op_lm_head = {
    .name = "lm_head", .fields = fields, .parameter_bytes = sizeof(struct lm_head), .run = run_lm_head, .check = check_lm_head,
    .scratch = lm_head_need,
};
