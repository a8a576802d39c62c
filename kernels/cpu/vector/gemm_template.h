/* Many tokens times weights that need no unpacking: tokens lie in the lanes of tiles, weights are broadcast 32 bits at a time.
 * The file that includes this defines first
 *   vec multiply(vec sum, const uint8_t *weights, vec x)    sum + the 32 bits of weights there times x
 * which takes a step along the rows: one float, or two bf16. */
#ifndef SUBBYTE_VECTOR_GEMM_TEMPLATE_H
#define SUBBYTE_VECTOR_GEMM_TEMPLATE_H
#include "cpu/order.h"
#include "convert.h"

enum {
    GEMM_TILES = V_REGISTERS == 32 ? 3 : 2,          /* Some rows meet some tiles: their sums, two chains of each, take three quarters */
    GEMM_ROWS = V_REGISTERS == 32 ? 4 : 3,           /* of the registers, and each load serves several multiplications. */
    GEMM_MOST_ROWS = 2 * GEMM_ROWS,                  /* that meet a single tile */
    GEMM_AT_ONCE = V_REGISTERS == 32 ? 16 : 24       /* rows that are stored together */
};

struct gemm {
    const uint8_t *rows;
    int64_t row_bytes;
    int n_rows;
    int in_memory;                         /* whether rows are not in a cache yet: the next few are then fetched meanwhile */
    const float *tiles;                    /* [n_tiles][n_steps][VLANES], 32 bits of one token in each lane */
    int64_t n_steps;
    int n_tokens;
    float *out;                            /* [n_tokens][out_stride] */
    int64_t out_stride;
};

/* A step of some rows and tiles, added to a chain of each. */
INLINE void gemm_step(const uint8_t *rows, int64_t row_bytes, int n_rows, const float *tile, int64_t tile_floats, int n_tiles, vec *sum)
{
    vec x[GEMM_TILES];
    for (int t = 0; t < n_tiles; t++)
        x[t] = v_load(tile + t * tile_floats);
    for (int r = 0; r < n_rows; r++)
        for (int t = 0; t < n_tiles; t++)
            sum[r * n_tiles + t] = multiply(sum[r * n_tiles + t], rows + r * row_bytes, x[t]);
}

/* sums[t * GEMM_AT_ONCE + r][lane] of n_rows rows and n_tiles tiles, both constants where this is inlined, over n steps, at most
 * FLOAT_PART. What lies `ahead` bytes further is fetched from memory meanwhile, unless that is 0. */
INLINE void gemm_sums(const uint8_t *rows, int64_t row_bytes, int n_rows, const float *tile, int64_t tile_floats, int n_tiles,
                      int64_t n, int64_t ahead, float *sums)
{
    vec even[GEMM_ROWS * GEMM_TILES], odd[GEMM_ROWS * GEMM_TILES];
    for (int i = 0; i < n_rows * n_tiles; i++)
        even[i] = odd[i] = v_set(0);
    int64_t i = 0;
    for (; i + 2 <= n; i += 2, rows += 8, tile += 2 * VLANES) {
        if (ahead && i % (64 / 4) == 0)                        /* once a cache line */
            for (int r = 0; r < n_rows; r++)
                __builtin_prefetch(rows + r * row_bytes + ahead);
        gemm_step(rows, row_bytes, n_rows, tile, tile_floats, n_tiles, even);
        gemm_step(rows + 4, row_bytes, n_rows, tile + VLANES, tile_floats, n_tiles, odd);
    }
    if (i < n)
        gemm_step(rows, row_bytes, n_rows, tile, tile_floats, n_tiles, even);
    for (int r = 0; r < n_rows; r++)
        for (int t = 0; t < n_tiles; t++)
            v_store(sums + (t * GEMM_AT_ONCE + r) * VLANES, v_add(even[r * n_tiles + t], odd[r * n_tiles + t]));
}

/* out[t * stride + r] (+)= sums[r][t] */
static inline void gemm_store(const float *sums, int n_rows, int n_tokens, int add, float *out, int64_t stride)
{
    for (int r = 0; r < n_rows; r += VLANES) {
        vec square[VLANES];
        for (int j = 0; j < VLANES; j++)
            square[j] = r + j < n_rows ? v_load(sums + (r + j) * VLANES) : v_set(0);
        v_transpose(square);
        for (int t = 0; t < n_tokens; t++) {
            float *p = out + t * stride + r;
            v_store_n(p, n_rows - r, add ? v_add(v_load_n(p, n_rows - r), square[t]) : square[t]);
        }
    }
}

/* All rows times n_tiles tiles from tile `first` on, over n steps from step i on. */
INLINE void gemm_some(const struct gemm *g, int first, int n_tiles, int64_t i, int64_t n)
{
    const int64_t tile_floats = g->n_steps * VLANES;
    const float *tile = g->tiles + first * tile_floats + i * VLANES;
    const int64_t ahead = g->in_memory && first == 0 ? GEMM_MOST_ROWS * g->row_bytes : 0;
    for (int r0 = 0; r0 < g->n_rows; r0 += GEMM_AT_ONCE) {
        float sums[GEMM_TILES * GEMM_AT_ONCE * VLANES];
        const uint8_t *rows = g->rows + r0 * g->row_bytes + 4 * i;
        int n_rows = g->n_rows - r0 < GEMM_AT_ONCE ? g->n_rows - r0 : GEMM_AT_ONCE, r = 0;
        for (; n_tiles == 1 && r + GEMM_MOST_ROWS <= n_rows; r += GEMM_MOST_ROWS)
            gemm_sums(rows + r * g->row_bytes, g->row_bytes, GEMM_MOST_ROWS, tile, tile_floats, 1, n, ahead, sums + r * VLANES);
        for (; r + GEMM_ROWS <= n_rows; r += GEMM_ROWS)
            gemm_sums(rows + r * g->row_bytes, g->row_bytes, GEMM_ROWS, tile, tile_floats, n_tiles, n, ahead, sums + r * VLANES);
        for (; r < n_rows; r++)
            gemm_sums(rows + r * g->row_bytes, g->row_bytes, 1, tile, tile_floats, n_tiles, n, ahead, sums + r * VLANES);
        for (int t = 0; t < n_tiles; t++) {
            int token = (first + t) * VLANES, n_tokens = g->n_tokens - token < VLANES ? g->n_tokens - token : VLANES;
            float *out = g->out + token * g->out_stride + r0;
            gemm_store(sums + t * GEMM_AT_ONCE * VLANES, n_rows, n_tokens, i > 0, out, g->out_stride);
        }
    }
}

/* Of FLOAT_PART steps some tiles stay in the second cache, while all rows pass by. */
static inline void gemm_all(const struct gemm *g)
{
    const int n_tiles = (g->n_tokens + VLANES - 1) / VLANES;
    for (int64_t i = 0; i < g->n_steps; i += FLOAT_PART) {
        int64_t n = g->n_steps - i < FLOAT_PART ? g->n_steps - i : FLOAT_PART;
        for (int t = 0; t < n_tiles;)
            if (n_tiles - t == 1) {
                gemm_some(g, t, 1, i, n);
                t += 1;
            } else if (GEMM_TILES == 2 || n_tiles - t == 2 || n_tiles - t == 4) {         /* two and two are faster than three and one */
                gemm_some(g, t, 2, i, n);
                t += 2;
            } else {
                gemm_some(g, t, GEMM_TILES, i, n);
                t += GEMM_TILES;
            }
    }
}

#endif
