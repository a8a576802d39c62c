#define _GNU_SOURCE
#include "timing.h"
#include "engine/ops.h"

#include <errno.h>
#include "threads/futex.h"

static double seconds_since(int64_t start)
{
    return 1e-9 * (now_ns(CLOCK_THREAD_CPUTIME_ID) - start);
}

/* Memory for a step of one thread over nothing but w. */
static struct scratch *scratch_for(const struct kernels *kernels, const struct weight *w, int n_tokens)
{
    int width = 1;
    struct plan plan = {.width = &width, .n_slots = 1, .max_cols = w->cols};
    return scratch_new(&plan, kernels, n_tokens, 1, 1, ACTIVATIONS_INT8);
}

struct job {
    struct step step;
    const struct weight *weight;
    const float *x;
    float *out;
    int64_t repeat;
    double seconds;
};

static void multiply_all(struct job *job, const struct input *in)
{
    const struct weight *w = job->weight;
    int64_t rows = chunk_rows(&job->step, w, in->n_tokens);
    for (int64_t row = 0; row < w->rows; row += rows)
        multiply_panel(&job->step, w, row, w->rows - row < rows ? w->rows - row : rows, in, 0, job->out + row, w->rows);
}

static void run_job(struct team *team, int thread, void *arg)
{
    struct job *job = arg;
    const struct weight *w = job->weight;
    struct input in = {.n_tokens = job->step.n_tokens, .cols = w->cols};
    add_need(&job->step, w, &in);
    if (prepare(&job->step, &(struct source){.x = job->x, .stride = w->cols}, &in, team, thread))
        return;
    int64_t start = now_ns(CLOCK_THREAD_CPUTIME_ID);
    for (int64_t i = 0; i < job->repeat; i++)
        multiply_all(job, &in);
    job->seconds = seconds_since(start);
}

int time_product(const struct kernels *kernels, const struct weight *w, const float *x, int n_tokens, int64_t repeat, float *out,
                 double *seconds)
{
    struct job job = {.weight = w, .x = x, .out = out, .repeat = repeat};
    job.step = (struct step){.kernels = kernels, .scratch = scratch_for(kernels, w, n_tokens), .n_tokens = n_tokens};
    if (!job.step.scratch)
        return ENOMEM;
    int status = pool_run(1, run_job, &job, NULL, NULL);
    scratch_free(job.step.scratch);
    *seconds = job.seconds;
    return status;
}

int time_unpack(const struct kernels *kernels, const struct weight *w, int64_t repeat, double *seconds)
{
    struct scratch *scratch = scratch_for(kernels, w, 1);
    if (!scratch)
        return ENOMEM;
    const struct panel *panel = &scratch->thread[0].panel;
    int64_t groups = w->cols / format_info[w->format].group, start = now_ns(CLOCK_THREAD_CPUTIME_ID);
    for (int64_t i = 0; i < repeat * w->rows; i++) {
        int64_t row = i % w->rows, at = row % PANEL_ROWS;
        kernels->unpack[w->format](w->data + row * row_bytes(w->format, w->cols), w->cols, panel->code + at * w->cols,
                                   panel->scale + at * groups, panel->factor + at * (w->cols / 256), panel->min + at * groups);
    }
    *seconds = seconds_since(start);
    scratch_free(scratch);
    return 0;
}

/* The empty assembly hides the values: the compiler must do every addition, in registers. No addend is known, because some cores do
 * additions of small constants in no time. */
#define ADD x += y; __asm__ volatile("" : "+r"(x));
#define ADD_16 ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD

double time_cycles(int64_t n)
{
    uint64_t x = 0, y = 1;
    __asm__ volatile("" : "+r"(y));
    int64_t start = now_ns(CLOCK_THREAD_CPUTIME_ID);
    for (int64_t i = 0; i < n; i += 64) {
        ADD_16 ADD_16 ADD_16 ADD_16
    }
    return seconds_since(start);
}
