/* The small operations of a layer: normalisation, rotary positions, activations, log-sum-exp. */
#include <float.h>
#include "cpu/kernel_table.h"
#include "exp.h"

void FILL(layer)(struct kernels *table);

static void rms_norm(const float *x, const float *weight, int64_t n, float eps, float *out)
{
    wide squares = w_zero();
    for (int64_t i = 0; i < n; i += VLANES) {
        vec part = v_load_n(x + i, n - i);
        squares = w_fma(part, part, squares);
    }
    vec scale = v_set((float)(1 / sqrt(w_sum(squares) / (double)n + eps)));
    for (int64_t i = 0; i < n; i += VLANES)
        v_store_n(out + i, n - i, v_mul(v_mul(v_load_n(x + i, n - i), scale), v_load_n(weight + i, n - i)));
}

static void rope_interleaved(float *head, int n_pairs, const float *cos, const float *sin)
{
    for (int p = 0; p < n_pairs; p += VLANES / 2) {
        int n = n_pairs - p;
        vec pairs = v_load_n(head + 2 * p, 2 * n);
        v_store_n(head + 2 * p, 2 * n, v_rotate_pairs(pairs, v_load_twice(cos + p, n), v_load_twice(sin + p, n)));
    }
}

static void rope_halves(float *head, int n_pairs, const float *cos, const float *sin)
{
    for (int p = 0; p < n_pairs; p += VLANES) {
        int n = n_pairs - p;
        vec a = v_load_n(head + p, n), b = v_load_n(head + n_pairs + p, n);
        vec c = v_load_n(cos + p, n), s = v_load_n(sin + p, n);
        v_store_n(head + p, n, v_sub(v_mul(a, c), v_mul(b, s)));
        v_store_n(head + n_pairs + p, n, v_add(v_mul(a, s), v_mul(b, c)));
    }
}

static void rope(float *head, int n_pairs, const float *cos, const float *sin, int interleaved)
{
    if (interleaved)
        rope_interleaved(head, n_pairs, cos, sin);
    else
        rope_halves(head, n_pairs, cos, sin);
}

/* x / (1 + exp(-u)) */
static inline vec v_gated(vec x, vec u)
{
    return v_div(x, v_add(v_set(1.0f), v_exp(v_sub(v_set(0), u))));
}

static void silu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i += VLANES) {
        vec x = v_load_n(gate + i, n - i);
        v_store_n(out + i, n - i, v_mul(v_gated(x, x), v_load_n(up + i, n - i)));
    }
}

/* 0.5 x (1 + tanh(u)) is x / (1 + exp(-2u)), which keeps its digits where tanh(u) is close to -1. */
static void gelu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    vec linear = v_set(2 * 0.7978845608f), cubic = v_set(2 * 0.7978845608f * 0.044715f);
    for (int64_t i = 0; i < n; i += VLANES) {
        vec x = v_load_n(gate + i, n - i);
        vec u = v_mul(x, v_fma(v_mul(x, x), cubic, linear));
        v_store_n(out + i, n - i, v_mul(v_gated(x, u), v_load_n(up + i, n - i)));
    }
}

static void relu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i += VLANES)
        v_store_n(out + i, n - i, v_mul(v_max(v_set(0), v_load_n(gate + i, n - i)), v_load_n(up + i, n - i)));
}

static void clamped_silu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    vec most = v_set(7), least = v_set(-7);
    for (int64_t i = 0; i < n; i += VLANES) {
        vec g = v_min(most, v_load_n(gate + i, n - i)), u = v_max(least, v_min(most, v_load_n(up + i, n - i)));
        v_store_n(out + i, n - i, v_mul(v_gated(g, v_mul(g, v_set(1.702f))), v_add(u, v_set(1))));
    }
}

static void sigmoid_mul(const float *gate, const float *x, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i += VLANES)
        v_store_n(out + i, n - i, v_gated(v_load_n(x + i, n - i), v_load_n(gate + i, n - i)));
}

static void add(float *x, const float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i += VLANES)
        v_store_n(x + i, n - i, v_add(v_load_n(x + i, n - i), v_load_n(y + i, n - i)));
}

static void scale(float *x, float s, int64_t n)
{
    for (int64_t i = 0; i < n; i += VLANES)
        v_store_n(x + i, n - i, v_mul(v_load_n(x + i, n - i), v_set(s)));
}

/* The maximum starts at -FLT_MAX, not at -infinity, so that logits of -infinity give exp(-infinity) = 0 and never infinity - infinity. */
static void max_sum_exp(const float *x, int64_t n, float *max, double *sum)
{
    vec greatest = v_set(-FLT_MAX);
    for (int64_t i = 0; i < n; i += VLANES)
        greatest = v_max(v_load_scores(x + i, n - i), greatest);
    *max = v_greatest(greatest);
    wide total = w_zero();
    for (int64_t i = 0; i < n; i += VLANES)
        total = w_fma(v_exp(v_sub(v_load_scores(x + i, n - i), v_set(*max))), v_set(1.0f), total);
    *sum = w_sum(total);
}

/* The difference of the two log-probabilities is formed from differences, so that it is exact where the distributions are close.
 * What has no part in x is above `floor` in no lane, and so of probability 0 in y. */
static void divergence(const float *x, double log_sum_x, const float *y, double log_sum_y, int64_t n, double sums[3])
{
    vec sum_p = v_set((float)log_sum_x), sum_q = v_set((float)log_sum_y), shift = v_set((float)(log_sum_x - log_sum_y));
    vec least = v_set(LEAST_LOGIT), floor = v_set(LEAST_LOGIT / 2);
    wide forward = w_zero(), reverse = w_zero(), common = w_zero();
    for (int64_t i = 0; i < n; i += VLANES) {
        vec a = v_max(v_load_scores(x + i, n - i), least), b = v_max(v_load_n(y + i, n - i), least);
        vec more = v_sub(v_sub(a, b), shift);
        vec p = v_exp(v_sub(a, sum_p)), q = v_exp(v_min(v_sub(b, sum_q), v_sub(a, floor)));
        forward = w_fma(p, more, forward);
        reverse = w_fma(q, more, reverse);
        common = w_fma(v_min(p, q), v_set(1.0f), common);
    }
    sums[0] = w_sum(forward), sums[1] = -w_sum(reverse), sums[2] = w_sum(common);
}

void FILL(layer)(struct kernels *table)
{
    table->rms_norm = rms_norm;
    table->rope = rope;
    table->silu_mul = silu_mul;
    table->gelu_mul = gelu_mul;
    table->relu_mul = relu_mul;
    table->clamped_silu_mul = clamped_silu_mul;
    table->sigmoid_mul = sigmoid_mul;
    table->add = add;
    table->scale = scale;
    table->max_sum_exp = max_sum_exp;
    table->divergence = divergence;
}
