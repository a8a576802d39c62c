/* The small operations of a layer: normalisation, rotary positions, activations, log-sum-exp. */
#include <float.h>
#include <math.h>
#include "cpu/kernel_table.h"


static void rms_norm(const float *x, const float *weight, int64_t n, float eps, float *out)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    float scale = (float)(1 / sqrt(sum / (double)n + eps));
    for (int64_t i = 0; i < n; i++)
        out[i] = x[i] * scale * weight[i];
}

static void rope(float *head, int n_pairs, const float *cos, const float *sin, int interleaved)
{
    for (int p = 0; p < n_pairs; p++) {
        float *a = interleaved ? head + 2 * p : head + p;
        float *b = interleaved ? a + 1 : a + n_pairs;
        float x = *a, y = *b;
        *a = x * cos[p] - y * sin[p];
        *b = x * sin[p] + y * cos[p];
    }
}

static void silu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

/* 0.5 x (1 + tanh(u)) is x / (1 + exp(-2u)), which keeps its digits where tanh(u) is close to -1. */
static float gelu(float x)
{
    float u = 0.7978845608f * (x + 0.044715f * x * x * x);
    return x / (1 + expf(-2 * u));
}

static void gelu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = gelu(gate[i]) * up[i];
}

static void relu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (gate[i] < 0 ? 0 : gate[i]) * up[i];
}

static void clamped_silu_mul(const float *gate, const float *up, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        float g = gate[i] > 7 ? 7 : gate[i], u = up[i] > 7 ? 7 : up[i] < -7 ? -7 : up[i];
        out[i] = g / (1 + expf(-1.702f * g)) * (u + 1);
    }
}

static void sigmoid_mul(const float *gate, const float *x, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = x[i] / (1 + expf(-gate[i]));
}

static void add(float *x, const float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] += y[i];
}

static void scale(float *x, float s, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] *= s;
}

/* The maximum starts at -FLT_MAX, not at -infinity, so that logits of -infinity give exp(-infinity) = 0 and never infinity - infinity. */
static void max_sum_exp(const float *x, int64_t n, float *max, double *sum)
{
    *max = -FLT_MAX;
    for (int64_t i = 0; i < n; i++)
        *max = x[i] > *max ? x[i] : *max;
    *sum = 0;
    for (int64_t i = 0; i < n; i++)
        *sum += expf(x[i] - *max);
}

static void divergence(const float *x, double log_sum_x, const float *y, double log_sum_y, int64_t n, double sums[3])
{
    float shift = (float)(log_sum_x - log_sum_y);
    sums[0] = sums[1] = sums[2] = 0;
    for (int64_t i = 0; i < n; i++) {
        float a = fmaxf(x[i], LEAST_LOGIT), b = fmaxf(y[i], LEAST_LOGIT), more = a - b - shift;
        float p = expf(a - (float)log_sum_x), q = a > LEAST_LOGIT ? expf(b - (float)log_sum_y) : 0;
        sums[0] += (double)p * more;
        sums[1] -= (double)q * more;
        sums[2] += fminf(p, q);
    }
}

void fill_scalar_layer(struct kernels *table)
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
