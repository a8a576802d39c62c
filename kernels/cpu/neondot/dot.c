/* One token with NEON's dot products: four bytes times four, added to 32 bits. */
#include "cpu/neon/decode.h"

FORCE_INLINE int32x4_t dot_16(int32x4_t sum, int8x16_t w, int8x16_t x) { return vdotq_s32(sum, w, x); }

#include "cpu/neon/dot_template.h"

void fill_neondot_dot(struct kernels *table)
{
    set_dots(table);
}
