/* Plain formats, and Q8_0, to vectors of floats. */
#ifndef SUBBYTE_VECTOR_CONVERT_H
#define SUBBYTE_VECTOR_CONVERT_H
#include "formats/blocks.h"
#include "vec.h"

#define INLINE static inline __attribute__((always_inline))

/* n elements of an array from element i on; `format` is a constant where this is inlined. */
INLINE vec v_load_as(enum format format, const void *p, int64_t i, int64_t n)
{
    if (format == FORMAT_F16)
        return v_from_f16((const uint16_t *)p + i, n);
    if (format == FORMAT_BF16)
        return v_from_bf16((const uint16_t *)p + i, n);
    return v_load_n((const float *)p + i, n);
}

/* Vector c of those that begin at element i of a row of the cache, its first n elements. In Q8_0 these vectors lie in the block of element i,
 * so that its scale is loaded once for all, and all lanes are read, which are there. */
INLINE vec v_load_row(enum format format, const void *row, int64_t i, int c, int64_t n)
{
    if (format != FORMAT_Q8_0)
        return v_load_as(format, row, i + c * VLANES, n);
    const struct block_Q8_0 *block = (const struct block_Q8_0 *)row + (uint64_t)i / 32;
    return v_mul(v_from_i8(block->qs + (uint64_t)i % 32 + c * VLANES), v_set_f16(block->d));
}

static inline void halves_to_floats(const uint16_t *x, int64_t n, float *out)
{
    int64_t i = 0;
    for (; i + VLANES <= n; i += VLANES)
        v_store(out + i, v_from_f16(x + i, VLANES));
    if (i < n)
        v_store_n(out + i, n - i, v_from_f16(x + i, n - i));
}

#endif
