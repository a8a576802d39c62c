/* The order of every float sum: what makes a token's logits a function of the tokens before it and of nothing else.
 *
 * One token, a few and a prompt have kernels of their own, threads share out rows and keys, and a float sum depends on its order.
 * So the order is fixed here, by positions alone, and every kernel of an instruction set follows it to the bit, however it lays
 * things into lanes. As a rule an output is one chain, acc <- fma(x, y, acc) from 0 on, in the order of weights, elements or keys:
 * with tokens in the lanes, or rows, or keys, a lane is an output, and the number of lanes makes no difference. Where a single token
 * could not wait for the additions of one chain, there are two or eight. fma rounds once; nothing is contracted or reordered by the
 * compiler (meson.build).
 *
 * Quantized weights times int8 activations (q, with a scale xs for each 32, and sums of 16):
 *   for each 32 weights:
 *     i     = sum of (code - bias) * q                       over a group of 16 or 32, an exact integer
 *     p     = (float)i * scale                               where 32 weights share a scale
 *     p     = (float)i0 * scale0 + (float)i1 * scale1        where halves have their own: integers below 2^24, so exact in any way
 *   blocks of 32 (scale is a float):
 *     acc   <- fma(p, xs, acc)
 *   blocks of 256 (scale is a small integer, of -128..63, and the block has a float `factor`; p is exact):
 *     t     = 0, then for each 32 weights of the block        t <- fma(p, xs, t)
 *     acc   <- fma(t, factor, acc)
 *   formats with mins, one for each group, number i of the row:
 *     m[i % 8] <- fma(min, xs * (float)(sum of q), m[i % 8])
 *     out   = acc - SUM_OF_MINS(m, )
 *   int8x2: the product with q, plus the product with the residual's q.
 *   Scales of 32 weights of the same kind may meet as integers or floats, before or after their bias is taken off: p is the same.
 *
 * Float weights times float activations, of each FLOAT_PART weights, number i of these:
 *     c[i % 2] <- fma(w, x, c[i % 2])
 *   out = c0 + c1 of the first part, + that of the second, + ...
 *   BF16 where an instruction multiplies its pairs (gemm_bf16): the same with a pair for a weight, for any number of tokens.
 *   The scalar table sums in double from the first weight to the last instead, for any number of tokens as well.
 *
 * Attention, for a token and a query head, keys and values as floats:
 *   score = chain over the elements, fma(k, q * scale, score); with a soft cap, cap * tanh(score * (1 / cap)) of that
 *   Keys are cut into blocks at multiples of KV_BLOCK, and into splits at multiples of split_keys(head_dim). Of a split:
 *     max'  = greatest of max and the block's scores         w = exp(score - max')      keep = exp(max - max')
 *     l     = chains of w over the keys j, j + VLANES, ...   of the block, their upper half added to the lower until one is left
 *     o[d]  = chain over the block's keys, fma(v, w, o[d])
 *     sum   <- fma(sum, keep, l)          out[d] <- fma(out[d], keep, o[d])
 *   Splits are merged first to last: a = exp(max - max'), b = exp(split's max - max'),
 *     sum   <- fma(sum, a, split's sum * b)                  out[d] <- fma(out[d], a, split's out[d] * b)
 *   result = out / sum. Keys that a token does not see have weight 0, which changes no bit of these.
 *
 * Recurrent layers, for a token, a head and a value, in the order of keys:
 *   known = chain, fma(k, s, known)              d = rate * (v - decay * known)
 *   s     <- fma(k, d, s * decay)                out = chain, fma(q, s, out)
 *   Tokens come one after the other. A convolution is a chain over its inputs, the oldest first, from the bias on.
 *
 * Norms, rope, activations and quantization work on one token's row, by the same function for any number of tokens.
 * Log-probabilities: chunks of the vocabulary, each in pieces of PANEL_ROWS rows, merged in order.
 *
 * Between instruction sets products of quantized weights are the same bits; the others differ where lanes come together. */
#ifndef SUBBYTE_ORDER_H
#define SUBBYTE_ORDER_H
#include <stdint.h>

enum {
    FLOAT_PART = 1024,      /* float weights, or pairs of bf16 */
    FLOAT_CHAINS = 2,
    MIN_CHAINS = 8,
    KV_BLOCK = 64
};

/* The chains m[0] at .. m[7] at added up: floats or vectors of them; `at` is an index of each, or nothing. */
#define SUM_OF_MINS(m, at) \
    ((((m)[0] at + (m)[4] at) + ((m)[2] at + (m)[6] at)) + (((m)[1] at + (m)[5] at) + ((m)[3] at + (m)[7] at)))

/* Keys of a split: a thread's task where there are few heads, and 64 to 128 KB of keys and values in F16. */
static inline int64_t split_keys(int64_t head_dim)
{
    int64_t keys = 16384 / head_dim / KV_BLOCK * KV_BLOCK;
    return keys < 2 * KV_BLOCK ? 2 * KV_BLOCK : keys;
}

#endif
