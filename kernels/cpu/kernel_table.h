/* What the machine offers: one table of functions. scalar/ fills every slot; each stronger instruction set then overrides those it
 * does better (dispatch.c). The functions that know `lanes` (pack_*, gemm*, attention_prefill) are overridden together.
 *
 * There are two code paths for x * W^T of a weight matrix W [n_rows][k] and activations x [n_tokens][k]:
 *   small batch  dot      unpacks and multiplies in registers; W is read once, straight from the file
 *   many tokens  gemm     a panel of rows is unpacked once into the cache (unpack) and multiplied with every tile of tokens;
 *                         tokens lie in the vector lanes, weights are broadcast
 * Quantized weights meet int8 activations (one float scale per 32); floating-point weights meet float activations.
 * Both ways give the same bits, in the order of sums that order.h lays down for every function here.
 *
 * No function here allocates, prints, fails or looks at anything but its arguments. Pointers need no alignment unless said. */
#ifndef SUBBYTE_KERNEL_TABLE_H
#define SUBBYTE_KERNEL_TABLE_H
#include <stdint.h>
#include "formats/formats.h"
#include "order.h"

enum { Q8_GROUP = 32, MAX_LANES = 16, MAX_TILES = 2, PANEL_ROWS = 48, FOLDED = 256, MAX_TABLES = 8 };

/* One token's activations as int8: x[i] ~ q[i] * scale[i / 32], q in -127..127. k is a multiple of 32. */
struct q8_row {
    int8_t *q;        /* [k] */
    float *scale;     /* [k / 32] */
    int16_t *sum;     /* [k / 16]: sums of 16 consecutive q */
};

/* Row t of consecutive ones. */
static inline struct q8_row q8_token(struct q8_row rows, int64_t t, int64_t k)
{
    return (struct q8_row){rows.q + t * k, rows.scale + t * (k / 32), rows.sum + t * (k / 16)};
}

/* The same for `lanes` tokens side by side, as gemm reads it; 64-byte aligned. Lanes past n_tokens hold zeros. */
struct q8_tile {
    int8_t *q;        /* [k / 4][lanes][4]; with neoni8mm [k / 8][lanes][8]; with avx512 of few tokens [k / 8][lanes / 2][8] */
    float *scale;     /* [k / 32][lanes] */
    int32_t *sum;     /* [k / 16][lanes]: sums of 16 consecutive q */
};

/* Unpacked rows: weight = (code - bias) * scale * factor - min; of folded ones without scale. */
struct panel {
    uint8_t *code;    /* [n_rows][k] */
    float *scale;     /* [n_rows][k / group]: small integers where there is a factor */
    float *factor;    /* [n_rows][k / 256]; only read when has_factor */
    float *min;       /* [n_rows][k / min_group]; only read when has_min */
    int64_t k;
    int n_rows;       /* at most PANEL_ROWS */
    int group;        /* 16, 32, or FOLDED */
    int min_group;    /* 16 or 32 */
    int bias, max_code;
    int has_factor, has_min;
};

/* Keys and values of one KV head of one layer: a row of padded_row_bytes(format, head_dim) for each position, zeros behind head_dim. */
struct kv_head {
    const void *k, *v;
    enum format format;       /* F16, F32 or Q8_0 */
};

/* What one head of linear attention is given of n_tokens consecutive tokens, each `stride` floats behind the one before. */
struct linear_head {
    int n_keys, n_values, n_tokens;
    int delta;                /* whether what the state already gives for a key is taken off its value (the delta rule) */
    const float *q, *k;       /* n_keys of each token */
    const float *v;           /* n_values */
    int64_t qk_stride, v_stride;
    const float *decay, *rate; /* [n_tokens]: what of the state stays, and how much of a token goes in */
    float *out;               /* n_values of each token */
    int64_t out_stride;
};

/* A head's state: for each STATE_COLUMNS values a block [n_keys][STATE_COLUMNS], 64-byte aligned, zeros behind n_values. A block stays in
 * the first cache while it meets all tokens. */
enum { STATE_COLUMNS = 32 };
static inline int64_t head_state_floats(int64_t n_keys, int64_t n_values)
{
    return (n_values + STATE_COLUMNS - 1) / STATE_COLUMNS * STATE_COLUMNS * n_keys;
}

struct kernels {
    const char *name;
    int lanes;        /* tokens in a tile: 8 or 16, at most MAX_LANES */

    /* ---- the machine's roofline, see roofline.h: nothing but multiply-adds, n rounds; each returns how many ---- */
    int64_t (*int8_peak)(int64_t n);
    int64_t (*float_peak)(int64_t n);
    int64_t (*bf16_peak)(int64_t n);      /* NULL where gemm_bf16 is */

    /* ---- int8 activations ---- */
    void (*quantize)(const float *x, int64_t k, struct q8_row out);
    /* n_tokens (1..lanes) consecutive rows of q8 activations to a tile. */
    void (*pack_q8)(struct q8_row rows, int n_tokens, int64_t k, struct q8_tile out);
    /* out[t * out_stride + r] = W[r] . x[t] for n_rows consecutive rows and n_tokens consecutive rows of activations.
     * NULL where no instruction set has a fused one: unpack, then dot_codes. */
    void (*dot[N_FORMATS])(const uint8_t *rows, int n_rows, int64_t k, struct q8_row x, int n_tokens, float *out,
                           int64_t out_stride);
    void (*dot_codes)(const struct panel *w, struct q8_row x, float *out);
    /* One row of k weights to a panel's row: code [k], scale and min [k / group], factor [k / 256] (factor and min untouched where
     * the format has none). */
    void (*unpack[N_FORMATS])(const uint8_t *row, int64_t k, uint8_t *code, float *scale, float *factor, float *min);
    /* Multiplies the scales of a row that unpack made into its codes, (code - bias) * scale + folded_bias, in place. For formats
     * where these fit a byte. NULL for the others, and for all where gemm takes no folded panels. */
    void (*fold[N_FORMATS])(int64_t k, uint8_t *code, const float *scale);
    int gemm_tiles;   /* that gemm takes, at most MAX_TILES */
    /* out[t * out_stride + r] = W[r] . x[t] for the rows of a panel and the first n_tokens of tiles that lie one after the other. */
    void (*gemm)(const struct panel *w, const struct q8_tile *x, int n_tokens, float *out, int64_t out_stride);

    /* ---- float activations ---- */
    /* out[i] = weight i of a row of any format, bit for bit what gguf-py dequantizes to. */
    void (*to_float[N_FORMATS])(const uint8_t *row, int64_t k, float *out);
    /* out[t * out_stride + r] = W[r] . x[t] for rows of F32, F16 and BF16 and tokens x [n_tokens][k]; the other slots are NULL. */
    void (*dot_float[N_FORMATS])(const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out,
                                 int64_t out_stride);
    /* n_tokens rows x[t * stride + i] to a tile [k][lanes], 64-byte aligned, zeros past n_tokens. */
    void (*pack_float)(const float *x, int64_t stride, int n_tokens, int64_t k, float *tile);
    /* out[t * out_stride + r] = rows[r] . x[t] for rows [n_rows][k] and all n_tokens, whose tiles lie one after the other. */
    void (*gemm_float)(const float *rows, int n_rows, int64_t k, const float *tiles, int n_tokens, float *out,
                       int64_t out_stride);
    /* The same for rows of BF16 as a file has them, and activations rounded to bf16 (to nearest even), in tiles [k / 2][lanes][2];
     * k is even. Subnormal numbers count as 0. NULL where no instruction multiplies bf16: such rows then go the way of floats. */
    void (*pack_bf16)(const float *x, int64_t stride, int n_tokens, int64_t k, uint16_t *tile);
    void (*gemm_bf16)(const uint8_t *rows, int n_rows, int64_t k, const uint16_t *tiles, int n_tokens, float *out,
                      int64_t out_stride);
    /* The same of tokens x [n_tokens][k], which are rounded so first. */
    void (*dot_bf16)(const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out, int64_t out_stride);
    void (*f16_to_float)(const uint16_t *x, int64_t n, float *out);
    void (*float_to_f16)(const float *x, int64_t n, uint16_t *out);   /* round to nearest even */

    /* ---- the rest of a layer, one row each ---- */
    /* out = x / sqrt(mean(x^2) + eps) * weight; out may be x. */
    void (*rms_norm)(const float *x, const float *weight, int64_t n, float eps, float *out);
    /* Rotates the first 2 * n_pairs elements of one head in place. cos, sin [n_pairs]; interleaved rotates (2p, 2p+1), else (p, p + n_pairs). */
    void (*rope)(float *head, int n_pairs, const float *cos, const float *sin, int interleaved);
    void (*silu_mul)(const float *gate, const float *up, int64_t n, float *out);  /* gate / (1 + exp(-gate)) * up */
    void (*gelu_mul)(const float *gate, const float *up, int64_t n, float *out);  /* tanh form of GELU, times up */
    void (*relu_mul)(const float *gate, const float *up, int64_t n, float *out);  /* max(gate, 0) * up */
    /* g / (1 + exp(-1.702 g)) * (u + 1) of g = min(gate, 7) and u = up cut to -7..7 */
    void (*clamped_silu_mul)(const float *gate, const float *up, int64_t n, float *out);
    void (*sigmoid_mul)(const float *gate, const float *x, int64_t n, float *out); /* x / (1 + exp(-gate)) */
    void (*add)(float *x, const float *y, int64_t n);                              /* x += y */
    void (*scale)(float *x, float s, int64_t n);                                   /* x *= s */
    /* log-sum-exp over n logits as (max, sum of exp(x - max)); the online form merges two such pairs. */
    void (*max_sum_exp)(const float *x, int64_t n, float *max, double *sum);
    /* Of two next-token distributions given as n logits each, log p[i] = x[i] - log_sum_x and log q[i] = y[i] - log_sum_y: the
     * Kullback-Leibler divergences sum p (log p - log q) and sum q (log q - log p), and sum min(p, q). An infinite logit counts as
     * -1e30; a token that has one in x has no part in any of the three. */
    void (*divergence)(const float *x, double log_sum_x, const float *y, double log_sum_y, int64_t n, double sums[3]);

    /* ---- attention: n_head query heads that share one KV head ----
     * softmax(soften(scale * q[h] . K^T)) V over all keys is combined from splits of the keys, where soften(x) is
     * softcap * tanh(x / softcap) if softcap > 0, else x. What a query head makes of a split is a row of
     * split_row(head_dim) floats: the sum of weight * value, then the greatest score, then the sum of weights, where weight =
     * exp(score - greatest). A split without visible keys: zeros, -FLT_MAX, zero. */
    /* One token, keys first..last-1, first <= last. q [n_head][head_dim], split [n_head][split_row];
     * scratch: attention_scratch(n_head, head_dim) floats, 64-byte aligned. */
    void (*attention_decode)(const float *q, int n_head, int head_dim, struct kv_head kv, int64_t first, int64_t last, float scale,
                             float softcap, float *scratch, float *split);
    /* n_tokens (1..lanes) consecutive positions pos0.., of keys first..last-1 those that each sees: key j is visible to position i iff
     * j <= i and (window == 0 or i - j < window). Head h of token t lies at q + t * q_stride + h * head_dim;
     * split [n_tokens][n_head][split_row]; scratch: attention_scratch(n_head, head_dim) floats, 64-byte aligned. */
    void (*attention_prefill)(const float *q, int64_t q_stride, int n_tokens, int n_head, int head_dim, struct kv_head kv,
                              int64_t pos0, int64_t window, int64_t first, int64_t last, float scale, float softcap, float *scratch,
                              float *split);
    /* Makes of `total`, which is what came of some keys, what comes of them and the keys of the next split; both [n_head][split_row]. */
    void (*merge_split)(const float *split, int n_head, int head_dim, float *total);
    /* out[h] = softmax(scores) V from what came of all keys. out [n_head][head_dim]. */
    void (*finish_attention)(const float *total, int n_head, int head_dim, float *out);

    /* ---- recurrent layers ---- */
    /* One token of a causal depthwise convolution: out[c] = sum over j < width of weight[j * n_channels + c] * row[j][c], plus bias[c] if
     * bias is not NULL, for n channels. Its last row may be out. */
    void (*convolve)(const float *const *row, int width, const float *weight, int64_t n_channels, const float *bias, int64_t n, float *out);
    /* Linear attention: for each token in turn S = decay S; d = rate (v - S^T k), or rate v without the delta rule; S += k d^T; out = S^T q.
     * A token's arithmetic does not depend on how many there are. */
    void (*linear_attention)(const struct linear_head *head, float *state);
};

#define LEAST_LOGIT (-1e30f)

static inline int64_t split_row(int head_dim) { return head_dim + 2; }
/* Floats of scratch that attention may use for n_head query heads. */
static inline int64_t attention_scratch(int n_head, int head_dim)
{
    int64_t per_head = 2 * (int64_t)head_dim * MAX_LANES + 4 * MAX_LANES;      /* query and output tile, max, sum */
    return n_head * per_head + 2 * (int64_t)KV_BLOCK * (head_dim + MAX_LANES) + 2 * (int64_t)KV_BLOCK * MAX_LANES;
}

/* What each instruction set does better than the weaker ones, or than nothing: the folder of its name. */
void fill_scalar(struct kernels *table);
#define ISA(isa, test) void fill_##isa(struct kernels *table);
#include "cpu/isa.def"
#undef ISA

/* The table of an instruction set (dispatch.c); NULL if there is none of that name or the machine lacks it. */
const struct kernels *kernels_of(const char *isa);
/* The strongest one, or what the environment variable SUBBYTE_ISA names; NULL if that names none that runs here. */
const struct kernels *kernels_best(void);
/* Names of the tables usable on this machine, weakest first; returns how many. */
int kernels_usable(const char *names[MAX_TABLES]);

#endif
