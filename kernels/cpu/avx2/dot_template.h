/* Fused dot and unpack, made from codes_F, scales_F and factor_F of a format (decode.h). The file that includes this defines first
 *   __m256i dot_4(__m256i codes, __m256i x, int bias)   sums over each 4 neighbours of (code - bias) * x if bias > 64, else code * x
 * which are exact. */
#include "chain.h"
#include "decode.h"
#include "decode_iq.h"
#include "decode_ternary.h"

typedef __m256i codes_fn(const uint8_t *block, int i);
typedef void scales_fn(const uint8_t *blocks, int n, int bytes, float *scale, float *min);
typedef float factor_fn(const uint8_t *block);
/* p of 256 weights of a row in the file: eight groups times n_tokens rows of activations. */
typedef void sums_fn(const uint8_t *p, const float *scale, const struct q8_row *x, int n_tokens, __m256 out[MOST_TOKENS]);

/* What dot_4 has left of the bias: sums of x take it off later, for less than it costs to take it off each code. */
FORCE_INLINE int bias_left(enum format f) { return format_info[f].bias > 64 ? 0 : format_info[f].bias; }

/* Pairs of lanes of a, then of b, added; in the same way in both halves. fit: into 16 bits. Two shuffles do what vphaddd does, and
 * sooner. */
FORCE_INLINE __m256i add_pairs(__m256i a, __m256i b, int fit)
{
    if (fit)
        return _mm256_madd_epi16(_mm256_packs_epi32(a, b), _mm256_set1_epi16(1));
    __m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);
    return _mm256_add_epi32(_mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88)), _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd)));
}

/* Sums of 16 codes times x, of vectors i .. i + 3: those of the lower halves, then those of the upper ones. */
FORCE_INLINE __m256i add_four(enum format f, const __m256i fours[4])
{
    const int most = 4 * 127 * format_info[f].max_code, small = bias_left(f) == format_info[f].bias;
    __m256i low = add_pairs(fours[0], fours[1], small && most <= INT16_MAX);
    __m256i high = add_pairs(fours[2], fours[3], small && most <= INT16_MAX);
    return add_pairs(low, high, small && 2 * most <= INT16_MAX);
}

/* From add_four's sums of 256 weights to p. */
FORCE_INLINE __m256 scale_sums(enum format f, const __m256i sums[2], const float *scale, const int16_t *x_sum)
{
    const __m256i bias = _mm256_set1_epi16((short)bias_left(f));
    if (format_info[f].group == 32) {
        __m256i low = _mm256_permute2x128_si256(sums[0], sums[1], 0x20), high = _mm256_permute2x128_si256(sums[0], sums[1], 0x31);
        __m256i sum = _mm256_add_epi32(low, high);
        if (bias_left(f))
            sum = _mm256_sub_epi32(sum, _mm256_madd_epi16(load32(x_sum), bias));
        return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scale));
    }
    __m256 p[2];
    for (int i = 0; i < 2; i++) {
        __m256i sum = _mm256_permutevar8x32_epi32(sums[i], _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        if (bias_left(f)) {
            __m256i of_x = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(x_sum + 8 * i)));
            sum = _mm256_sub_epi32(sum, _mm256_madd_epi16(of_x, bias));
        }
        p[i] = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(scale + 8 * i));
    }
    __m256d pairs = _mm256_castps_pd(_mm256_hadd_ps(p[0], p[1]));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(pairs, 0xd8));
}

/* sums_fn of a format. */
FORCE_INLINE void sums_256(enum format f, codes_fn codes, const uint8_t *p, const float *scale, const struct q8_row *x, int n_tokens,
                           __m256 out[MOST_TOKENS])
{
    const int block = format_info[f].block, bytes = format_info[f].bytes;
    __m256i sums[MOST_TOKENS][2];
    #pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        __m256i fours[MOST_TOKENS][4];
        #pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            const int i = 4 * half + j;
            __m256i c = codes(p + i * 32 / block * bytes, i % (block / 32));
            #pragma GCC unroll 4
            for (int t = 0; t < n_tokens; t++)
                fours[t][j] = dot_4(c, load32(x[t].q + 32 * i), format_info[f].bias);
        }
        #pragma GCC unroll 4
        for (int t = 0; t < n_tokens; t++)
            sums[t][half] = add_four(f, fours[t]);
    }
    #pragma GCC unroll 4
    for (int t = 0; t < n_tokens; t++)
        out[t] = scale_sums(f, sums[t], scale, x[t].sum);
}

/* p of one block of 32 weights. */
FORCE_INLINE float sum_32(enum format f, __m256i codes, float scale, struct q8_row x)
{
    __m256i fours = dot_4(codes, load32(x.q), format_info[f].bias);
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
    sum = _mm_hadd_epi32(sum, sum);
    int all = _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum));
    return (float)(all - bias_left(f) * (x.sum[0] + x.sum[1])) * scale;
}

/* xs times the sums of q for eight groups: of 32, or of 16 in the first or second half of 256. */
FORCE_INLINE __m256 scaled_x_sums(struct q8_row x, int group, int half)
{
    __m256 scales = _mm256_loadu_ps(x.scale);
    if (group == 32)
        return _mm256_mul_ps(scales, _mm256_cvtepi32_ps(_mm256_madd_epi16(load32(x.sum), _mm256_set1_epi16(1))));
    __m256i lanes = _mm256_add_epi32(_mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3), _mm256_set1_epi32(4 * half));
    __m256i sums = _mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)(x.sum + 8 * half)));
    return _mm256_mul_ps(_mm256_permutevar8x32_ps(scales, lanes), _mm256_cvtepi32_ps(sums));
}

/* The chains of mins over 256 weights. */
FORCE_INLINE __m256 add_mins(enum format f, const float *min, struct q8_row x, __m256 mins)
{
    for (int half = 0; half < 32 / format_info[f].group; half++)
        mins = _mm256_fmadd_ps(_mm256_loadu_ps(min + 8 * half), scaled_x_sums(x, format_info[f].group, half), mins);
    return mins;
}

/* Row r of a part: n weights from p on, rows of activations from there on; `ahead` is read later. */
FORCE_INLINE void sum_part(enum format f, sums_fn sums, codes_fn codes, scales_fn scales, factor_fn factor, const uint8_t *p,
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
            part->factor[i / 256][r] = factor(p);
        for (int t = 0; t < n_tokens; t++) {
            _mm256_storeu_ps(part->p[t][r] + i / 32, out[t]);
            if (format_has_min(f))
                mins[t][r] = add_mins(f, min, here[t], mins[t][r]);
        }
    }
    for (; block == 32 && i < n; i += 32, p += bytes) {
        float scale, min;
        scales(p, 1, bytes, &scale, &min);
        __m256i c = codes(p, 0);
        for (int t = 0; t < n_tokens; t++) {
            struct q8_row tail = at(x[t], i);
            part->p[t][r][i / 32] = sum_32(f, c, scale, tail);
            if (format_has_min(f)) {
                float sum = tail.scale[0] * (float)(tail.sum[0] + tail.sum[1]), chains[MIN_CHAINS];
                _mm256_storeu_ps(chains, mins[t][r]);
                chains[i / 32 % MIN_CHAINS] = _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(min), _mm_set_ss(sum),
                                                                         _mm_set_ss(chains[i / 32 % MIN_CHAINS])));
                mins[t][r] = _mm256_loadu_ps(chains);
            }
        }
    }
}

/* n_tokens is a constant, at most MOST_TOKENS. */
FORCE_INLINE void dot_rows(enum format f, sums_fn sums, codes_fn codes, scales_fn scales, factor_fn factor, const uint8_t *rows, int n_rows,
                    int64_t k, const struct q8_row *x, int n_tokens, float *out, int64_t out_stride)
{
    const int64_t row = row_bytes(f, k);
    struct part part;
    memset(part.p, 0, sizeof part.p);           /* what rows lack, lanes have: zeros */
    memset(part.factor, 0, sizeof part.factor);
    for (int row0 = 0; row0 < n_rows; row0 += CHAINS) {
        const int n = n_rows - row0 < CHAINS ? n_rows - row0 : CHAINS;
        __m256 acc[MOST_TOKENS] = {0}, mins[MOST_TOKENS][CHAINS] = {0};
        for (int64_t i = 0; i < k; i += PART) {
            const int64_t length = k - i < PART ? k - i : PART, start = row_bytes(f, i);
            struct q8_row here[MOST_TOKENS];
            all_at(x, n_tokens, i, here);
            for (int r = 0; r < n; r++)
                sum_part(f, sums, codes, scales, factor, rows + (row0 + r) * row + start,
                         later(rows, row, row0, r, start, row_bytes(f, length)), length, here, n_tokens, r, &part, mins);
            for (int t = 0; t < n_tokens; t++)
                acc[t] = chain(f, &part, t, length, here[t].scale, acc[t]);
        }
        for (int t = 0; t < n_tokens; t++) {
            float sum[CHAINS] = {0};
            for (int r = 0; r < n && format_has_min(f); r++)
                sum[r] = sum_lanes(mins[t][r]);
            if (format_has_min(f))
                acc[t] = _mm256_sub_ps(acc[t], _mm256_loadu_ps(sum));
            _mm256_maskstore_ps(out + t * out_stride + row0, first_lanes(n), acc[t]);
        }
    }
}

FORCE_INLINE void unpack_row(enum format f, codes_fn codes, scales_fn scales, factor_fn factor, const uint8_t *row, int64_t k, uint8_t *code,
                      float *scale, float *factors, float *min)
{
    const int block = format_info[f].block, bytes = format_info[f].bytes, n_groups = block / format_info[f].group;
    for (int64_t b = 0; b < k / block; b++, row += bytes) {
        __m256i c[8];
        #pragma GCC unroll 8
        for (int i = 0; i < block / 32; i++)
            c[i] = codes(row, i);
        if (format_has_factor(f))
            factors[b] = factor(row);
        scales(row, 1, bytes, scale + b * n_groups, min ? min + b * n_groups : NULL);
        #pragma GCC unroll 8
        for (int i = 0; i < block / 32; i++)     /* last: for all the compiler knows, a store changes the row */
            _mm256_storeu_si256((void *)(code + b * block + 32 * i), c[i]);
    }
}

/* For each quantized format of formats.def. */
#define DEFINE_SUMS(name) \
    FORCE_INLINE void sums_##name(const uint8_t *p, const float *scale, const struct q8_row *x, int n_tokens, __m256 out[MOST_TOKENS]) \
    { \
        sums_256(FORMAT_##name, codes_##name, p, scale, x, n_tokens, out); \
    }
#define DOT_ROWS(name, n) \
    dot_rows(FORMAT_##name, sums_##name, codes_##name, scales_##name, factor_##name, rows, n_rows, k, tokens, n, out, out_stride)
#define DEFINE_DOT(name) DEFINE_SUMS(name) DEFINE_DOT_OF(name, DOT_ROWS)
#define DEFINE_UNPACK(name) \
    static void unpack_##name(const uint8_t *row, int64_t k, uint8_t *code, float *scale, float *factors, float *min) \
    { \
        unpack_row(FORMAT_##name, codes_##name, scales_##name, factor_##name, row, k, code, scale, factors, min); \
    }
#define SET_DOT(name) table->dot[FORMAT_##name] = dot_##name;
#define SET_UNPACK(name) table->unpack[FORMAT_##name] = unpack_##name;
