/* Fused dot and unpack, made from codes_F, scales_F and half_F of a format (decode.h, decode_iq.h). The file that includes this
 * defines first
 *   __m256i fours(__m256i codes, __m256i x)    sums over each 4 neighbours of codes, unsigned bytes of at most 128, times x, exactly
 *
 * Codes with a small bias are multiplied as they are, and sums of x take the bias off later. The sign of other weights moves to x:
 * of bytes that have one (codes_F with a great bias), and of book entries, whose signs are bits elsewhere. */
#include "chain.h"
#include "decode.h"
#include "decode_iq.h"
#include "decode_ternary.h"

/* The i-th 32 of 256 weights from p on: what is multiplied, and -1 where a book entry is minus. */
struct operand { __m256i codes, minus; };

typedef __m256i codes_fn(const uint8_t *block);
typedef void all_codes_fn(const uint8_t *p, __m256i codes[8]);
typedef struct operand operand_fn(const uint8_t *p, const struct looked_up *l, int i);
typedef void look_up_fn(const uint8_t *block, struct looked_up *l);
typedef void scales_fn(const uint8_t *blocks, int n, int bytes, float *scale, float *min);
typedef uint16_t half_fn(const uint8_t *block);
/* p of order.h of 256 weights of a row in the file: eight groups times n_tokens rows of activations. */
typedef void sums_fn(const uint8_t *p, const float *scale, const struct q8_row *x, int n_tokens, __m256 *out);

FORCE_INLINE int signs_apart(enum format f)
{
    return f == FORMAT_IQ2_XXS || f == FORMAT_IQ2_XS || f == FORMAT_IQ2_S || f == FORMAT_IQ3_XXS || f == FORMAT_IQ3_S;
}
FORCE_INLINE int sign_moves(enum format f) { return is_signed(f) || signs_apart(f); }

/* What is multiplied is at most this: magnitudes go up to the bias. */
FORCE_INLINE int greatest(enum format f) { return sign_moves(f) ? format_info[f].bias : format_info[f].max_code; }

FORCE_INLINE __m256i operand_product(enum format f, struct operand w, __m256i x)
{
    if (is_signed(f))
        return fours(_mm256_abs_epi8(w.codes), _mm256_sign_epi8(x, w.codes));
    if (signs_apart(f))
        return fours(w.codes, _mm256_sub_epi8(_mm256_xor_si256(x, w.minus), w.minus));
    return fours(w.codes, x);
}

/* What products have too much of x, and whether they have: 16 bits for each 16 of 256 weights. */
FORCE_INLINE int is_biased(enum format f) { return !sign_moves(f) && format_info[f].bias; }
FORCE_INLINE __m256i biases(enum format f, const uint8_t *p)
{
    return f == FORMAT_IQ1_S ? biases_IQ1_S(p) : _mm256_set1_epi16((short)format_info[f].bias);
}

/* Pairs of lanes of a, then of b, added; in the same way in both halves. fit: into 16 bits. Two shuffles do what vphaddd does, and
 * sooner. */
FORCE_INLINE __m256i add_pairs(__m256i a, __m256i b, int fit)
{
    if (fit)
        return _mm256_madd_epi16(_mm256_packs_epi32(a, b), _mm256_set1_epi16(1));
    __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
    return _mm256_add_epi32(_mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88)), _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd)));
}

/* Sums of 8 products with codes of at most `most`, from four vectors of fours: two of each lower half, then two of each upper one. */
struct eights { __m256i low, high; };
FORCE_INLINE struct eights add_four(int most, const __m256i four[4])
{
    const int fit = 4 * 127 * most <= INT16_MAX;
    return (struct eights){add_pairs(four[0], four[1], fit), add_pairs(four[2], four[3], fit)};
}

/* Dwords in the order of 32 weights each, from sums of the halves of four and of four others. */
FORCE_INLINE __m256i add_halves(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

/* p of 256 weights with groups of 32. bias: what these have too much of x, 16 bits for each 16 weights. */
FORCE_INLINE __m256 scale_groups_32(enum format f, const struct eights sums[2], __m256i bias, const float *scale, const int16_t *x_sum)
{
    const int fit = 8 * 127 * greatest(f) <= INT16_MAX;
    __m256i sum = add_halves(add_pairs(sums[0].low, sums[0].high, fit), add_pairs(sums[1].low, sums[1].high, fit));
    if (is_biased(f))
        sum = _mm256_sub_epi32(sum, _mm256_madd_epi16(load32(x_sum), bias));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scale));
}

/* p of 256 weights with groups of 16, whose integer scales make integers of p: sums of 8 meet them in vpmaddwd where they fit. */
FORCE_INLINE __m256 scale_groups_16(enum format f, const struct eights sums[2], __m256i scale, const int16_t *x_sum)
{
    const __m256i even_first = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    __m256i apart = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(scale, even_first), 0xd8), scaled[2];
    __m256i twice[2] = {_mm256_unpacklo_epi16(apart, apart), _mm256_unpackhi_epi16(apart, apart)};
    for (int i = 0; i < 2; i++)
        if (8 * 127 * greatest(f) <= INT16_MAX)
            scaled[i] = _mm256_madd_epi16(_mm256_packs_epi32(sums[i].low, sums[i].high), twice[i]);
        else
            scaled[i] = _mm256_mullo_epi32(add_pairs(sums[i].low, sums[i].high, 0), _mm256_srai_epi32(twice[i], 16));
    __m256i sum = add_halves(scaled[0], scaled[1]);
    if (is_biased(f)) {
        __m256i bias = _mm256_mullo_epi16(scale, _mm256_set1_epi16((short)format_info[f].bias));
        sum = _mm256_sub_epi32(sum, _mm256_madd_epi16(load32(x_sum), bias));
    }
    return _mm256_cvtepi32_ps(sum);
}

FORCE_INLINE __m256i scale_words(enum format f, const uint8_t *p)
{
    switch (f) {
    case FORMAT_Q2_K: return scale_words_Q2_K(p);
    case FORMAT_Q3_K: return scale_words_Q3_K(p);
    case FORMAT_Q6_K: return scale_words_Q6_K(p);
    case FORMAT_IQ2_XS: return scale_words_IQ2_XS(p);
    case FORMAT_IQ2_S: return scale_words_IQ2_S(p);
    default: return scale_words_IQ1_M(p);
    }
}

/* sums_fn of a format.
 *
 * What it comes to for one token with AVX2, in instructions per 256 weights, of which a core starts four to six a cycle (two shuffles,
 * two multiplications, two vector loads or three others): products 16 (vpmaddubsw, vpmaddwd) and their sums 17 where 16 bits hold
 * those of four, else 21; loading and storing 13. Unpacking is 16 for nibbles, 40 for 6 bits. A book of entries of 8 costs 32 loads
 * of their numbers, 32 of entries and 24 to join these (entries of 4: twice that), signs 4 to spread and 2 to apply for each 32
 * weights, and making them ready 16. chain.h adds 6 to 8. benchmarks/instructions.py counts what the compiler makes of it. */
FORCE_INLINE void sums_256(enum format f, look_up_fn look_up, operand_fn operand, const uint8_t *p, const float *scale,
                           const struct q8_row *x, int n_tokens, __m256 *out)
{
    struct looked_up l;
    look_up(p, &l);
    in_memory(&l);
    struct eights sums[MOST_TOKENS][2];
    #pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        __m256i four[MOST_TOKENS][4];
        #pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            struct operand w = operand(p, &l, 4 * half + j);
            #pragma GCC unroll 4
            for (int t = 0; t < n_tokens; t++)
                four[t][j] = operand_product(f, w, load32(x[t].q + 32 * (4 * half + j)));
        }
        #pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++)
            sums[t][half] = add_four(greatest(f), four[t]);
    }
    #pragma GCC unroll 4
    for (int t = 0; t < n_tokens; t++)
        out[t] = format_info[f].group == 16 ? scale_groups_16(f, sums[t], scale_words(f, p), x[t].sum)
                                            : scale_groups_32(f, sums[t], biases(f, p), scale, x[t].sum);
}

/* p of one block of 32 weights. */
FORCE_INLINE float sum_32(enum format f, __m256i codes, float scale, struct q8_row x)
{
    __m256i four = operand_product(f, (struct operand){codes, _mm256_setzero_si256()}, load32(x.q));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    sum = _mm_hadd_epi32(sum, sum);
    int all = _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum));
    return (float)(is_biased(f) ? all - format_info[f].bias * (x.sum[0] + x.sum[1]) : all) * scale;
}

/* xs times the sums of q for the groups of n activations: what a min is multiplied with. */
FORCE_INLINE void scale_x_sums(int group, struct q8_row x, int64_t n, float *out)
{
    int64_t i = 0;
    for (; i + 256 <= n; i += 256, x = at(x, 256), out += 256 / group)
        if (group == 32) {
            __m256 sums = _mm256_cvtepi32_ps(_mm256_madd_epi16(load32(x.sum), _mm256_set1_epi16(1)));
            _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_loadu_ps(x.scale), sums));
        } else {
            for (int j = 0; j < 16; j++)
                out[j] = x.scale[j / 2] * (float)x.sum[j];
        }
    for (; i < n; i += 32, x = at(x, 32))                  /* blocks of 32 have groups of 32 */
        *out++ = x.scale[0] * (float)(x.sum[0] + x.sum[1]);
}

FORCE_INLINE float *x_sums_of(enum format f, struct part *part, int n_tokens, int t)
{
    return part->x_sums + t * (part_weights(n_tokens) / format_info[f].group);
}

/* The chains of mins over 256 weights. */
FORCE_INLINE __m256 add_mins(enum format f, const float *min, const float *x_sums, __m256 mins)
{
    for (int i = 0; i < 256 / format_info[f].group; i += MIN_CHAINS)
        mins = _mm256_fmadd_ps(_mm256_loadu_ps(min + i), _mm256_loadu_ps(x_sums + i), mins);
    return mins;
}

/* A block of 32 weights that is not one of eight: number g of row r. */
FORCE_INLINE void sum_one_block(enum format f, codes_fn codes, scales_fn scales, const uint8_t *p, int64_t g, const struct q8_row *x,
                                int n_tokens, int r, struct part *part, __m256 mins[MOST_TOKENS][CHAINS])
{
    float scale, min;
    scales(p, 1, format_info[f].bytes, &scale, &min);
    __m256i c = codes(p);
    for (int t = 0; t < n_tokens; t++) {
        sums_of(part, n_tokens, t, r)[g] = sum_32(f, c, scale, at(x[t], 32 * g));
        if (format_has_min(f)) {
            float chains[MIN_CHAINS], *m = chains + g % MIN_CHAINS;
            _mm256_storeu_ps(chains, mins[t][r]);
            *m = _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(min), _mm_set_ss(x_sums_of(f, part, n_tokens, t)[g]), _mm_set_ss(*m)));
            mins[t][r] = _mm256_loadu_ps(chains);
        }
    }
}

/* Row r of a part: n weights from p on, rows of activations from there on; `ahead` is read later. */
FORCE_INLINE void sum_part(enum format f, sums_fn sums, codes_fn codes, scales_fn scales, half_fn half, const uint8_t *p,
                           const uint8_t *ahead, int64_t n, const struct q8_row *x, int n_tokens, int r, struct part *part,
                           __m256 mins[MOST_TOKENS][CHAINS])
{
    const int block = format_info[f].block, bytes = format_info[f].bytes, step = 256 / block * bytes;
    struct q8_row here[MOST_TOKENS];
    int64_t i = 0;
    for (; i + 256 <= n; i += 256, p += step, ahead += step) {
        float scale[16], min[16];
        __m256 out[MOST_TOKENS];
        fetch(ahead, step);
        all_at(x, n_tokens, i, here);
        scales(p, 256 / block, bytes, scale, min);
        sums(p, scale, here, n_tokens, out);
        if (format_has_factor(f))
            part->half[i / 256][r] = half(p);
        for (int t = 0; t < n_tokens; t++) {
            _mm256_storeu_ps(sums_of(part, n_tokens, t, r) + i / 32, out[t]);
            if (format_has_min(f))
                mins[t][r] = add_mins(f, min, x_sums_of(f, part, n_tokens, t) + i / format_info[f].group, mins[t][r]);
        }
    }
    for (; block == 32 && i < n; i += 32, p += bytes)
        sum_one_block(f, codes, scales, p, i / 32, x, n_tokens, r, part, mins);
}

/* n_tokens is a constant, at most MOST_TOKENS. */
FORCE_INLINE void dot_rows(enum format f, sums_fn sums, codes_fn codes, scales_fn scales, half_fn half, const uint8_t *rows, int n_rows,
                    int64_t k, const struct q8_row *x, int n_tokens, float *out, int64_t out_stride)
{
    const int64_t row = row_bytes(f, k);
    struct part part;
    for (int row0 = 0; row0 < n_rows; row0 += CHAINS) {
        const int n = n_rows - row0 < CHAINS ? n_rows - row0 : CHAINS;
        __m256 acc[MOST_TOKENS] = {0}, mins[MOST_TOKENS][CHAINS] = {0};
        if (n < CHAINS)
            memset(&part, 0, sizeof part);                 /* what rows lack, lanes have: zeros */
        for (int64_t i = 0; i < k; i += part_weights(n_tokens)) {
            const int64_t length = k - i < part_weights(n_tokens) ? k - i : part_weights(n_tokens), start = row_bytes(f, i);
            struct q8_row here[MOST_TOKENS];
            all_at(x, n_tokens, i, here);
            for (int t = 0; t < n_tokens && format_has_min(f); t++)
                scale_x_sums(format_info[f].group, here[t], length, x_sums_of(f, &part, n_tokens, t));
            for (int r = 0; r < n; r++)
                sum_part(f, sums, codes, scales, half, rows + (row0 + r) * row + start,
                         later(rows, row, row0, r, start, row_bytes(f, length)), length, here, n_tokens, r, &part, mins);
            for (int t = 0; t < n_tokens; t++)
                acc[t] = chain(f, &part, n_tokens, t, length, here[t].scale, acc[t]);
        }
        for (int t = 0; t < n_tokens; t++) {
            if (format_has_min(f)) {
                vec m[MIN_CHAINS];
                load_transposed((const float *)mins[t], VLANES, m);
                acc[t] = v_sub(acc[t], SUM_OF_MINS(m, ));
            }
            v_store_n(out + t * out_stride + row0, n, acc[t]);
        }
    }
}

FORCE_INLINE void unpack_row(enum format f, all_codes_fn all_codes, codes_fn codes, scales_fn scales, half_fn half, const uint8_t *row,
                             int64_t k, uint8_t *code, float *scale, float *factors, float *min)
{
    const int block = format_info[f].block, bytes = format_info[f].bytes, n_groups = block / format_info[f].group;
    const __m256i bias = _mm256_set1_epi8((char)(is_signed(f) ? format_info[f].bias : 0));
    for (int64_t b = 0; b < k / block; b++, row += bytes) {
        __m256i c[8];
        if (block == 256)
            all_codes(row, c);
        else
            c[0] = codes(row);
        if (format_has_factor(f))
            factors[b] = _cvtsh_ss(half(row)) * factor_unit(f);
        scales(row, 1, bytes, scale + b * n_groups, min ? min + b * n_groups : NULL);
        #pragma GCC unroll 8
        for (int i = 0; i < block / 32; i++)     /* last: for all the compiler knows, a store changes the row */
            _mm256_storeu_si256((void *)(code + b * block + 32 * i), is_signed(f) ? _mm256_add_epi8(c[i], bias) : c[i]);
    }
}

/* A format without book, codes_F(block, i); with one, codes_F(block, looked up, i). */
FORCE_INLINE void no_look_up(const uint8_t *p, struct looked_up *l) { (void)p, (void)l; }
#define DEFINE_PLAIN(name) \
    FORCE_INLINE __m256i codes_at_##name(const uint8_t *p, int i) \
    { \
        const int block = format_info[FORMAT_##name].block, bytes = format_info[FORMAT_##name].bytes; \
        return codes_##name(p + i * 32 / block * bytes, i % (block / 32)); \
    } \
    FORCE_INLINE struct operand operand_##name(const uint8_t *p, const struct looked_up *l, int i) \
    { \
        return (void)l, (struct operand){codes_at_##name(p, i), _mm256_setzero_si256()}; \
    } \
    FORCE_INLINE __m256i first_codes_##name(const uint8_t *p) { return codes_##name(p, 0); } \
    FORCE_INLINE void all_codes_##name(const uint8_t *p, __m256i codes[8]) \
    { \
        for (int i = 0; i < 8; i++) \
            codes[i] = codes_at_##name(p, i); \
    } \
    DEFINE_SUMS(name, no_look_up)
#define DEFINE_BOOK(name) \
    FORCE_INLINE struct operand operand_##name(const uint8_t *p, const struct looked_up *l, int i) \
    { \
        return (struct operand){magnitudes_##name(p, l, i), signs_apart(FORMAT_##name) ? where_minus(l, i) : _mm256_setzero_si256()}; \
    } \
    FORCE_INLINE void all_codes_##name(const uint8_t *p, __m256i codes[8]) \
    { \
        struct looked_up l; \
        look_up_##name(p, &l); \
        in_memory(&l); \
        for (int i = 0; i < 8; i++) \
            codes[i] = codes_##name(p, &l, i); \
    } \
    DEFINE_SUMS(name, look_up_##name)
#define DEFINE_SUMS(name, look_up) \
    FORCE_INLINE void sums_##name(const uint8_t *p, const float *scale, const struct q8_row *x, int n_tokens, __m256 *out) \
    { \
        sums_256(FORMAT_##name, look_up, operand_##name, p, scale, x, n_tokens, out); \
    }
FORMATS_WITHOUT_BOOKS(DEFINE_PLAIN)
FORMATS_WITH_BOOKS(DEFINE_BOOK)

/* dot and unpack of formats of both kinds. */
#define DOT_ROWS(name, codes, sums, n) \
    dot_rows(FORMAT_##name, sums##_##name, codes, scales_##name, half_##name, rows, n_rows, k, tokens, n, out, out_stride)
#define DOT_PLAIN(name, n) DOT_ROWS(name, first_codes_##name, sums, n)
#define DOT_BOOK(name, n) DOT_ROWS(name, NULL, sums, n)
#define DEFINE_DOT_PLAIN(name) DEFINE_DOT_OF(name, DOT_PLAIN)
#define DEFINE_DOT_BOOK(name) DEFINE_DOT_OF(name, DOT_BOOK)
#define DEFINE_UNPACK(name, codes) \
    static void unpack_##name(const uint8_t *row, int64_t k, uint8_t *code, float *scale, float *factors, float *min) \
    { \
        unpack_row(FORMAT_##name, all_codes_##name, codes, scales_##name, half_##name, row, k, code, scale, factors, min); \
    }
#define DEFINE_UNPACK_PLAIN(name) DEFINE_UNPACK(name, first_codes_##name)
#define DEFINE_UNPACK_BOOK(name) DEFINE_UNPACK(name, NULL)
#define SET_DOT(name) table->dot[FORMAT_##name] = dot_##name;
#define SET_UNPACK(name) table->unpack[FORMAT_##name] = unpack_##name;
