/* Few tokens times BF16 weights, rounded as many tokens are (gemm.c). */
#include "cpu/kernel_table.h"
#include "cpu/avx2/vec.h"

#define INLINE static inline __attribute__((always_inline))

INLINE vec load_weights(enum format format, const uint8_t *row, int64_t i, int64_t n) { return v_load_n((const float *)row + i, n); }
INLINE vec multiply_steps(vec sum, vec weights, vec x) { return _mm256_dpbf16_ps(sum, (__m256bh)weights, (__m256bh)x); }

#include "cpu/vector/dot_template.h"

enum { ROUNDED = 2 * FLOAT_PART };    /* activations that are rounded at a time */

/* n activations in pairs. */
static void round_to_pairs(const float *x, int64_t n, float *pairs)
{
    for (int64_t i = 0; i < n; i += 2 * VLANES) {
        vec low = v_load_n(x + i, n - i), high = n - i > VLANES ? v_load_n(x + i + VLANES, n - i - VLANES) : v_set(0);
        v_store_n(pairs + i / 2, (n - i) / 2, (vec)_mm256_cvtne2ps_pbh(high, low));
    }
}

/* out[t * out_stride + r] of at most TOGETHER tokens. */
static void dot_together(const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out, int64_t out_stride)
{
    float pairs[TOGETHER][ROUNDED / 2], part[TOGETHER][PANEL_ROWS];
    for (int64_t i = 0; i < k; i += ROUNDED) {
        const int64_t n = k - i < ROUNDED ? k - i : ROUNDED;
        for (int t = 0; t < n_tokens; t++)
            round_to_pairs(x + t * k + i, n, pairs[t]);
        for (int r = 0; r < n_rows; r += PANEL_ROWS) {
            int some = n_rows - r < PANEL_ROWS ? n_rows - r : PANEL_ROWS;
            dot_rows(FORMAT_BF16, rows + 2 * (r * k + i), 2 * k, 4, some, n / 2, pairs[0], ROUNDED / 2, n_tokens,
                     i == 0 ? out + r : part[0], i == 0 ? out_stride : PANEL_ROWS);
            for (int t = 0; i > 0 && t < n_tokens; t++)
                for (int j = 0; j < some; j++)
                    out[t * out_stride + r + j] += part[t][j];
        }
    }
}

static void dot_bf16(const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out, int64_t out_stride)
{
    for (int t = 0; t < n_tokens; t += TOGETHER)
        dot_together(rows, n_rows, k, x + t * k, n_tokens - t < TOGETHER ? n_tokens - t : TOGETHER, out + t * out_stride, out_stride);
}

void fill_avx512bf16_dot(struct kernels *table);

void fill_avx512bf16_dot(struct kernels *table) { table->dot_bf16 = dot_bf16; }
