/* Recurrent layers: the short convolution, and linear attention over a state of keys and values. */
#include "cpu/kernel_table.h"

void fill_scalar_recurrent(struct kernels *table);

static void convolve(const float *const *row, int width, const float *weight, int64_t n_channels, const float *bias, int64_t n, float *out)
{
    for (int64_t c = 0; c < n; c++) {
        float sum = bias ? bias[c] : 0;
        for (int j = 0; j < width; j++)
            sum += weight[j * n_channels + c] * row[j][c];
        out[c] = sum;
    }
}

/* Value number j of a token; column: what the state holds of it for each key. */
static void one_value(const struct linear_head *h, int t, int j, float *column)
{
    const float *k = h->k + t * h->qk_stride, *q = h->q + t * h->qk_stride;
    float known = 0, out = 0;
    for (int i = 0; i < h->n_keys; i++)
        known += k[i] * column[i * STATE_COLUMNS];
    float d = h->rate[t] * (h->v[t * h->v_stride + j] - (h->delta ? h->decay[t] * known : 0));
    for (int i = 0; i < h->n_keys; i++) {
        float *s = &column[i * STATE_COLUMNS];
        *s = h->decay[t] * *s + k[i] * d;
        out += q[i] * *s;
    }
    h->out[t * h->out_stride + j] = out;
}

static void linear_attention(const struct linear_head *h, float *state)
{
    for (int j = 0; j < h->n_values; j++)
        for (int t = 0; t < h->n_tokens; t++)
            one_value(h, t, j, state + j / STATE_COLUMNS * (int64_t)h->n_keys * STATE_COLUMNS + j % STATE_COLUMNS);
}

void fill_scalar_recurrent(struct kernels *table)
{
    table->convolve = convolve;
    table->linear_attention = linear_attention;
}
