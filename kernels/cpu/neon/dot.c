/* One token with NEON: bytes are multiplied to 16 bits, where two products fit (2 x 128 x 127), and added in pairs. */
#include "decode.h"

FORCE_INLINE int32x4_t dot_16(int32x4_t sum, int8x16_t w, int8x16_t x)
{
    int16x8_t products = vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), w, x);
    return vpadalq_s16(sum, products);
}

#include "dot_template.h"

void fill_neon_dot(struct kernels *table)
{
    set_dots(table);
}
