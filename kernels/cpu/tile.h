/* What the packing of tiles has in common. */
#ifndef SUBBYTE_TILE_H
#define SUBBYTE_TILE_H
#include "kernel_table.h"

/* Whether so many tokens of a tile are packed and multiplied as half of one, where an instruction set has such. */
static inline int fills_half(int n_tokens, int lanes)
{
    return n_tokens > 0 && 2 * n_tokens <= lanes;
}

/* Scales and sums of a tile; few compared with its bytes. */
static inline void pack_scales(struct q8_row rows, int n_tokens, int64_t k, int lanes, struct q8_tile out)
{
    for (int64_t i = 0; i < k / 32; i++)
        for (int t = 0; t < lanes; t++)
            out.scale[i * lanes + t] = t < n_tokens ? rows.scale[t * (k / 32) + i] : 0;
    for (int64_t i = 0; i < k / 16; i++)
        for (int t = 0; t < lanes; t++)
            out.sum[i * lanes + t] = t < n_tokens ? rows.sum[t * (k / 16) + i] : 0;
}

#endif
