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

/* known = S^T k of a block; of no keys zeros. */
static void recall(const float *state, const float *k, int n_keys, vec known[VECTORS])
{
    for (int j = 0; j < VECTORS; j++)
        known[j] = v_set(0);
    for (int i = 0; i < n_keys; i++, state += STATE_COLUMNS)
        for (int j = 0; j < VECTORS; j++)
            known[j] = v_fma(v_set(k[i]), v_load(state + j * VLANES), known[j]);
}

/* S = decay S + k d^T and out = S^T q; known = S^T next if it recalls, else zeros. */
INLINE void pass(float *restrict state, const float *restrict k, const float *restrict q, const float *restrict next, int recalls,
                 int n_keys, float decay, const vec d[VECTORS], vec out[VECTORS], vec known[VECTORS])
{
    vec stays = v_set(decay);
    for (int j = 0; j < VECTORS; j++)
        out[j] = known[j] = v_set(0);
    for (int i = 0; i < n_keys; i++, state += STATE_COLUMNS) {
        vec key = v_set(k[i]), query = v_set(q[i]), next_key = recalls ? v_set(next[i]) : v_set(0);
        for (int j = 0; j < VECTORS; j++) {
            vec s = v_fma(key, d[j], v_mul(v_load(state + j * VLANES), stays));
            v_store(state + j * VLANES, s);
            out[j] = v_fma(query, s, out[j]);
            if (recalls)
                known[j] = v_fma(next_key, s, known[j]);
        }
    }
}

/* Puts token t into a block of `left` values, that are to be at v, and gives its result. */
INLINE void one_token(const struct linear_head *h, float *state, int t, int recalls, const float *v, float *result, int left,
                      vec known[VECTORS])
{
    const float *k = h->k + t * h->qk_stride, *q = h->q + t * h->qk_stride;
    vec rate = v_set(h->rate[t]), decay = v_set(h->decay[t]), d[VECTORS], out[VECTORS];
    for (int j = 0; j < VECTORS; j++) {
        int n = left - j * VLANES;
        vec value = n > 0 ? v_load_n(v + t * h->v_stride + j * VLANES, n) : v_set(0);
        d[j] = v_mul(rate, v_sub(value, v_mul(decay, known[j])));
    }
    pass(state, k, q, k + h->qk_stride, recalls, h->n_keys, h->decay[t], d, out, known);
    for (int j = 0; j < VECTORS && j * VLANES < left; j++)
        v_store_n(result + t * h->out_stride + j * VLANES, left - j * VLANES, out[j]);
}

/* A block of `left` values meets all tokens. */
static void all_tokens(const struct linear_head *h, float *state, const float *v, float *result, int left)
{
    vec known[VECTORS];
    int t = 0;
    recall(state, h->k, h->delta ? h->n_keys : 0, known);
    for (; h->delta && t + 1 < h->n_tokens; t++)
        one_token(h, state, t, 1, v, result, left, known);
    for (; t < h->n_tokens; t++)
        one_token(h, state, t, 0, v, result, left, known);
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
