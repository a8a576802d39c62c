/* Recurrent layers: the short convolution, and linear attention over a state of keys and values.
 *
 * The values of a state lie in the lanes: they are independent of each other. A block of STATE_COLUMNS of them stays in the first cache
 * while it meets all tokens, and a token passes over it once: the pass that puts a token in also reads what the next one asks for. */
#include "cpu/kernel_table.h"
#include "convert.h"

void FILL(recurrent)(struct kernels *table);

enum { VECTORS = STATE_COLUMNS / VLANES };

static void convolve(const float *const *row, int width, const float *weight, int64_t n_channels, const float *bias, int64_t n, float *out)
{
    for (int64_t c = 0; c < n; c += VLANES) {
        vec sum = bias ? v_load_n(bias + c, n - c) : v_set(0);
        for (int j = 0; j < width; j++)
            sum = v_fma(v_load_n(weight + j * n_channels + c, n - c), v_load_n(row[j] + c, n - c), sum);
        v_store_n(out + c, n - c, sum);
    }
}

/* known = S^T k of a block. */
static void recall(const float *state, const float *k, int n_keys, vec known[VECTORS])
{
    for (int j = 0; j < VECTORS; j++)
        known[j] = v_set(0);
    for (int i = 0; i < n_keys; i++, state += STATE_COLUMNS)
        for (int j = 0; j < VECTORS; j++)
            known[j] = v_fma(v_set(k[i]), v_load(state + j * VLANES), known[j]);
}

/* S = decay S + k d^T, out = S^T q, and known = S^T next unless next is NULL. */
INLINE void pass(float *state, const float *k, const float *q, const float *next, int n_keys, float decay, const vec d[VECTORS],
                 vec out[VECTORS], vec known[VECTORS])
{
    vec stays = v_set(decay);
    for (int j = 0; j < VECTORS; j++)
        out[j] = known[j] = v_set(0);
    for (int i = 0; i < n_keys; i++, state += STATE_COLUMNS)
        for (int j = 0; j < VECTORS; j++) {
            vec s = v_fma(v_set(k[i]), d[j], v_mul(stays, v_load(state + j * VLANES)));
            v_store(state + j * VLANES, s);
            out[j] = v_fma(v_set(q[i]), s, out[j]);
            if (next)
                known[j] = v_fma(v_set(next[i]), s, known[j]);
        }
}

/* A block's values, `left` of them. */
static void all_tokens(const struct linear_head *h, float *state, const float *v, float *result, int left)
{
    const float *k = h->k, *q = h->q;
    vec known[VECTORS], d[VECTORS], out[VECTORS];
    if (h->delta)
        recall(state, k, h->n_keys, known);
    for (int t = 0; t < h->n_tokens; t++) {
        for (int j = 0; j * VLANES < left; j++) {
            vec value = v_load_n(v + j * VLANES, left - j * VLANES);
            d[j] = v_mul(v_set(h->rate[t]), h->delta ? v_sub(value, v_mul(v_set(h->decay[t]), known[j])) : value);
        }
        for (int j = (left + VLANES - 1) / VLANES; j < VECTORS; j++)
            d[j] = v_set(0);
        if (h->delta && t + 1 < h->n_tokens)
            pass(state, k, q, k + h->qk_stride, h->n_keys, h->decay[t], d, out, known);
        else
            pass(state, k, q, NULL, h->n_keys, h->decay[t], d, out, known);
        for (int j = 0; j * VLANES < left; j++)
            v_store_n(result + j * VLANES, left - j * VLANES, out[j]);
        k += h->qk_stride, q += h->qk_stride, v += h->v_stride, result += h->out_stride;
    }
}

static void linear_attention(const struct linear_head *h, float *state)
{
    for (int j = 0; j < h->n_values; j += STATE_COLUMNS) {
        int left = h->n_values - j;
        all_tokens(h, state, h->v + j, h->out + j, left < STATE_COLUMNS ? left : STATE_COLUMNS);
        state += (int64_t)h->n_keys * STATE_COLUMNS;
    }
}

void FILL(recurrent)(struct kernels *table)
{
    table->convolve = convolve;
    table->linear_attention = linear_attention;
}
