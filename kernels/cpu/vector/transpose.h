/* Rows of tokens to tiles with tokens in the lanes, and back. */
#ifndef SUBBYTE_VECTOR_TRANSPOSE_H
#define SUBBYTE_VECTOR_TRANSPOSE_H
#include "vec.h"

/* tile[i][t] = x[t * stride + i] for i < k, zeros for t >= n_tokens. */
static inline void to_tile(const float *x, int64_t stride, int n_tokens, int64_t k, float *tile)
{
    for (int64_t i = 0; i < k; i += VLANES) {
        vec square[VLANES];
        for (int t = 0; t < VLANES; t++)
            square[t] = t < n_tokens ? v_load_n(x + t * stride + i, k - i) : v_set(0);
        v_transpose(square);
        for (int64_t j = 0; j < VLANES && i + j < k; j++)
            v_store(tile + (i + j) * VLANES, square[j]);
    }
}

/* out[t * stride + i] = tile[i][t] for i < k, t < n_tokens. */
static inline void from_tile(const float *tile, int64_t k, int n_tokens, float *out, int64_t stride)
{
    for (int64_t i = 0; i < k; i += VLANES) {
        vec square[VLANES];
        for (int64_t j = 0; j < VLANES; j++)
            square[j] = i + j < k ? v_load(tile + (i + j) * VLANES) : v_set(0);
        v_transpose(square);
        for (int t = 0; t < n_tokens; t++)
            v_store_n(out + t * stride + i, k - i, square[t]);
    }
}

#endif
