/* From one block to a row: the slots `unpack` and `to_float` of every format. */
#include <string.h>
#include "formats/half.h"
#include "cpu/kernel_table.h"
#include "unpack.h"

enum { MAX_BLOCK = 256, MIN_GROUP = 16 };

static inline void unpack_row(enum format f, unpack_fn *unpack, const uint8_t *row, int64_t k, uint8_t *code,
                              float *scale, float *factor, float *min)
{
    const struct format_info *format = &format_info[f];
    for (int64_t i = 0; i < k; i += format->block) {
        unpack(row, code, scale, factor, min);
        if (format_has_factor(f))                          /* else factor may be NULL, */
            factor++;
        row += format->bytes;
        code += format->block;
        scale += format->block / format->group;
        if (format_has_min(f))                             /* and min too */
            min += format->block / format->group;
    }
}

static inline void row_to_float(enum format f, unpack_fn *unpack, const uint8_t *row, int64_t k, float *out)
{
    const struct format_info *format = &format_info[f];
    uint8_t code[MAX_BLOCK];
    float scale[MAX_BLOCK / MIN_GROUP], factor = 1, min[MAX_BLOCK / MIN_GROUP];
    for (; k > 0; k -= format->block) {
        unpack(row, code, scale, &factor, min);
        for (int i = 0; i < format->block; i++) {
            float x = (code[i] - format->bias) * (scale[i / format->group] * factor);
            out[i] = format_has_min(f) ? x - min[i / format->group] : x;
        }
        row += format->bytes;
        out += format->block;
    }
}

static void F32_to_float(const uint8_t *row, int64_t k, float *out)
{
    memcpy(out, row, (size_t)k * sizeof *out);
}

static void F16_to_float(const uint8_t *row, int64_t k, float *out)
{
    for (int64_t i = 0; i < k; i++)
        out[i] = half_to_float((uint16_t)(row[2 * i] | row[2 * i + 1] << 8));
}

static void BF16_to_float(const uint8_t *row, int64_t k, float *out)
{
    for (int64_t i = 0; i < k; i++)
        out[i] = bf16_to_float((uint16_t)(row[2 * i] | row[2 * i + 1] << 8));
}

/* <FORMAT>_unpack and <FORMAT>_to_float of every quantized format. */
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, \
    static void name##_unpack(const uint8_t *row, int64_t k, uint8_t *code, float *scale, float *factor, float *min) \
    { unpack_row(FORMAT_##name, unpack_##name, row, k, code, scale, factor, min); } \
    static void name##_to_float(const uint8_t *row, int64_t k, float *out) \
    { row_to_float(FORMAT_##name, unpack_##name, row, k, out); })
#include "formats/formats.def"
#undef FORMAT

void fill_scalar_formats(struct kernels *table)
{
#define FORMAT(name, id, block, bytes, group, bias, max_code) \
    QUANTIZED(group, table->unpack[FORMAT_##name] = name##_unpack;) \
    table->to_float[FORMAT_##name] = name##_to_float;
#include "formats/formats.def"
#undef FORMAT
}
