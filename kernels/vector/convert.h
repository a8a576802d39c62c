/* Plain formats to vectors of floats. */
#ifndef SUBBYTE_CONVERT_H
#define SUBBYTE_CONVERT_H
#include "../formats.h"
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

static inline void halves_to_floats(const uint16_t *x, int64_t n, float *out)
{
    int64_t i = 0;
    for (; i + VLANES <= n; i += VLANES)
        v_store(out + i, v_from_f16(x + i, VLANES));
    if (i < n)
        v_store_n(out + i, n - i, v_from_f16(x + i, n - i));
}

#endif
