/* dot of any number of tokens, made from one for a constant number of them. */
#ifndef SUBBYTE_DOT_TOKENS_H
#define SUBBYTE_DOT_TOKENS_H
#include "kernel_table.h"

/* Tokens that meet a block while it is unpacked. With AVX2 their sums do not fit 16 registers, which costs less than to unpack again. */
enum { MOST_TOKENS = 4 };

/* dot of a format from `call`, which does it for a constant number of tokens n: as many at once as there are registers for. */
#define DEFINE_DOT_OF(name, call) \
    static void dot_##name(const uint8_t *rows, int n_rows, int64_t k, struct q8_row x, int n_tokens, float *out, int64_t out_stride) \
    { \
        for (int t = 0, n; t < n_tokens; t += n, out += n * out_stride) { \
            struct q8_row tokens[MOST_TOKENS]; \
            n = n_tokens - t < MOST_TOKENS ? n_tokens - t : MOST_TOKENS; \
            for (int i = 0; i < n; i++) \
                tokens[i] = q8_token(x, t + i, k); \
            switch (n) { \
            case 1: call(name, 1); break; \
            case 2: call(name, 2); break; \
            case 3: call(name, 3); break; \
            default: call(name, MOST_TOKENS); \
            } \
        } \
    }

#endif
