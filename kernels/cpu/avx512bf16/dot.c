/* One token times BF16 weights, rounded as many tokens are (gemm.c). */
#include "cpu/kernel_table.h"
#include "cpu/avx2/vec.h"

#define INLINE static inline __attribute__((always_inline))

INLINE vec load_weights(enum format format, const uint8_t *row, int64_t i, int64_t n) { return v_load_n((const float *)row + i, n); }
INLINE vec multiply_steps(vec sum, vec weights, vec x) { return _mm256_dpbf16_ps(sum, (__m256bh)weights, (__m256bh)x); }

#include "cpu/vector/dot_template.h"

enum { ROUNDED = 2 * FLOAT_PART };    /* activations that are rounded at a time */

static void dot_bf16(const uint8_t *rows, int n_rows, int64_t k, const float *x, float *out)
{
    float pairs[ROUNDED / 2], part[PANEL_ROWS];
    for (int64_t i = 0; i < k; i += ROUNDED) {
        const int64_t n = k - i < ROUNDED ? k - i : ROUNDED;
        for (int64_t j = 0; j < n; j += 2 * VLANES) {
            vec low = v_load_n(x + i + j, n - j), high = n - j > VLANES ? v_load_n(x + i + j + VLANES, n - j - VLANES) : v_set(0);
            v_store_n(pairs + j / 2, (n - j) / 2, (vec)_mm256_cvtne2ps_pbh(high, low));
        }
        for (int r = 0; r < n_rows; r += PANEL_ROWS) {
            int some = n_rows - r < PANEL_ROWS ? n_rows - r : PANEL_ROWS;
            dot_rows(FORMAT_BF16, rows + 2 * (r * k + i), 2 * k, 4, some, n / 2, pairs, i == 0 ? out + r : part);
            for (int j = 0; i > 0 && j < some; j++)
                out[r + j] += part[j];
        }
    }
}

void fill_avx512bf16_dot(struct kernels *table);

void fill_avx512bf16_dot(struct kernels *table) { table->dot_bf16 = dot_bf16; }
