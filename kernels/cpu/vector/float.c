/* Matrix products with float activations, and the conversions of half precision. */
#include "cpu/kernel_table.h"
#include "convert.h"
#include "transpose.h"

INLINE vec multiply(vec sum, const uint8_t *weights, vec x)
{
    float w;
    __builtin_memcpy(&w, weights, sizeof w);
    return v_fma(v_set(w), x, sum);
}

#include "gemm_template.h"

void FILL(layer)(struct kernels *table);
void FILL(attention_decode)(struct kernels *table);
void FILL(attention_prefill)(struct kernels *table);
void FILL(recurrent)(struct kernels *table);
void FILL(float)(struct kernels *table);

/* Floats are copied as anywhere, so F32 keeps the slot it has. */
INLINE void row_to_float(enum format format, const uint8_t *row, int64_t k, float *out)
{
    int64_t i = 0;
    for (; i + VLANES <= k; i += VLANES)
        v_store(out + i, v_load_as(format, row, i, VLANES));
    if (i < k)
        v_store_n(out + i, k - i, v_load_as(format, row, i, k - i));
}

static void f16_row_to_float(const uint8_t *row, int64_t k, float *out)
{
    row_to_float(FORMAT_F16, row, k, out);
}

static void bf16_row_to_float(const uint8_t *row, int64_t k, float *out)
{
    row_to_float(FORMAT_BF16, row, k, out);
}

static void pack_float(const float *x, int64_t stride, int n_tokens, int64_t k, float *tile)
{
    to_tile(x, stride, n_tokens, k, tile);
}

static void gemm_float(const float *rows, int n_rows, int64_t k, const float *tiles, int n_tokens, float *out, int64_t out_stride)
{
    struct gemm g = {(const uint8_t *)rows, 4 * k, n_rows, 0, tiles, k, n_tokens, out, out_stride};
    gemm_all(&g);
}

static void f16_to_float(const uint16_t *x, int64_t n, float *out)
{
    halves_to_floats(x, n, out);
}

static void float_to_f16(const float *x, int64_t n, uint16_t *out)
{
    int64_t i = 0;
    for (; i + VLANES <= n; i += VLANES)
        v_to_f16(out + i, VLANES, v_load(x + i));
    if (i < n)
        v_to_f16(out + i, n - i, v_load_n(x + i, n - i));
}

void FILL(float)(struct kernels *table)
{
    table->lanes = VLANES;
    table->to_float[FORMAT_F16] = f16_row_to_float;
    table->to_float[FORMAT_BF16] = bf16_row_to_float;
    table->pack_float = pack_float;
    table->gemm_float = gemm_float;
    table->f16_to_float = f16_to_float;
    table->float_to_f16 = float_to_f16;
    FILL(layer)(table);
    FILL(attention_decode)(table);
    FILL(attention_prefill)(table);
    FILL(recurrent)(table);
}
