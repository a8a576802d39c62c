/* Matrix products with float activations, and the conversions of half precision. Sums run in double, so that this is the reference. */
#include "formats/half.h"
#include "cpu/kernel_table.h"

enum { LANES = 8 };


static float read_f32(const uint8_t *p)
{
    float x;
    memcpy(&x, p, sizeof x);
    return x;
}

static uint16_t read_u16(const uint8_t *p)
{
    uint16_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static float read_float(enum format format, const uint8_t *row, int64_t i)
{
    if (format == FORMAT_F16)
        return half_to_float(read_u16(row + 2 * i));
    return format == FORMAT_BF16 ? bf16_to_float(read_u16(row + 2 * i)) : read_f32(row + 4 * i);
}

static void dot_rows(enum format format, const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out,
                     int64_t out_stride)
{
    for (int r = 0; r < n_rows; r++, rows += row_bytes(format, k))
        for (int t = 0; t < n_tokens; t++) {
            double sum = 0;
            for (int64_t i = 0; i < k; i++)
                sum += (double)read_float(format, rows, i) * x[t * k + i];
            out[t * out_stride + r] = (float)sum;
        }
}

static void dot_f32(const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out, int64_t out_stride)
{
    dot_rows(FORMAT_F32, rows, n_rows, k, x, n_tokens, out, out_stride);
}

static void dot_f16(const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out, int64_t out_stride)
{
    dot_rows(FORMAT_F16, rows, n_rows, k, x, n_tokens, out, out_stride);
}

static void dot_bf16(const uint8_t *rows, int n_rows, int64_t k, const float *x, int n_tokens, float *out, int64_t out_stride)
{
    dot_rows(FORMAT_BF16, rows, n_rows, k, x, n_tokens, out, out_stride);
}

static void pack_float(const float *x, int64_t stride, int n_tokens, int64_t k, float *tile)
{
    for (int64_t i = 0; i < k; i++)
        for (int t = 0; t < LANES; t++)
            tile[i * LANES + t] = t < n_tokens ? x[t * stride + i] : 0;
}

static void gemm_float(const float *rows, int n_rows, int64_t k, const float *tiles, int n_tokens, float *out, int64_t out_stride)
{
    for (int r = 0; r < n_rows; r++)
        for (int t = 0; t < n_tokens; t++) {
            const float *x = tiles + t / LANES * k * LANES + t % LANES;
            double sum = 0;
            for (int64_t i = 0; i < k; i++)
                sum += (double)rows[r * k + i] * x[i * LANES];
            out[t * out_stride + r] = (float)sum;
        }
}

static void f16_to_float(const uint16_t *x, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = half_to_float(x[i]);
}

static void float_to_f16(const float *x, int64_t n, uint16_t *out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = float_to_half(x[i]);
}

void fill_scalar_float(struct kernels *table)
{
    table->lanes = LANES;
    table->dot_float[FORMAT_F32] = dot_f32;
    table->dot_float[FORMAT_F16] = dot_f16;
    table->dot_float[FORMAT_BF16] = dot_bf16;
    table->pack_float = pack_float;
    table->gemm_float = gemm_float;
    table->f16_to_float = f16_to_float;
    table->float_to_f16 = float_to_f16;
}
