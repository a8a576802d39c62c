/* Few tokens times float weights; of instruction sets with vectors of eight floats, and of those that build on them. */
#include "cpu/kernel_table.h"
#include "convert.h"

INLINE vec load_weights(enum format format, const uint8_t *row, int64_t i, int64_t n) { return v_load_as(format, row, i, n); }
INLINE vec multiply_steps(vec sum, vec weights, vec x) { return v_fma(weights, x, sum); }

#include "dot_template.h"

INLINE void dot_float_rows(enum format format, const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out,
                           int64_t out_stride)
{
    dot_rows(format, rows, row_bytes(format, k), (int)row_bytes(format, 1), n_rows, k, x, k, n_tokens, out, out_stride);
}

static void dot_f32(const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out, int64_t out_stride)
{
    dot_float_rows(FORMAT_F32, rows, n_rows, k, x, n_tokens, out, out_stride);
}

static void dot_f16(const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out, int64_t out_stride)
{
    dot_float_rows(FORMAT_F16, rows, n_rows, k, x, n_tokens, out, out_stride);
}

static void dot_bf16(const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out, int64_t out_stride)
{
    dot_float_rows(FORMAT_BF16, rows, n_rows, k, x, n_tokens, out, out_stride);
}

void FILL(dot_float)(struct kernels *table);

void FILL(dot_float)(struct kernels *table)
{
    table->dot_float[FORMAT_F32] = dot_f32;
    table->dot_float[FORMAT_F16] = dot_f16;
    table->dot_float[FORMAT_BF16] = dot_bf16;
}
