/* Rows of blocks to panels, with NEON. */
#include "cpu/kernel_table.h"
#include "decode.h"
#include "decode_iq.h"
#include "decode_k.h"
#include "decode_ternary.h"

FORCE_INLINE void store_codes(enum format f, struct codes c, uint8_t *code)
{
    const uint8x16_t bias = vdupq_n_u8(codes_are_signed(f) ? (uint8_t)format_info[f].bias : 0);
    vst1q_u8(code, c.low + bias);
    vst1q_u8(code + 16, c.high + bias);
}

FORCE_INLINE void store_scales(const float32x4_t *v, int n, float *out)
{
    if (n == 1)
        *out = vgetq_lane_f32(*v, 0);
    for (int i = 0; i < n / 4; i++)
        vst1q_f32(out + 4 * i, v[i]);
}

/* One block of 256 or some of 32. */
FORCE_INLINE void unpack_blocks(enum format f, codes_fn codes, scales_fn scales, const uint8_t *p, int n, uint8_t *code, float *scale,
                         float *min)
{
    const int block = format_info[f].block, bytes = format_info[f].bytes, n_groups = n * block / format_info[f].group;
    struct codes c[8];
    float32x4_t scale_of[4], min_of[4];
    #pragma GCC unroll 8
    for (int i = 0; i < n * block / 32; i++)
        c[i] = codes(p + i * 32 / block * bytes, i % (block / 32));
    scales(p, n, bytes, scale_of, min_of);
    #pragma GCC unroll 8
    for (int i = 0; i < n * block / 32; i++)     /* last: for all the compiler knows, a store changes the row */
        store_codes(f, c[i], code + 32 * i);
    store_scales(scale_of, n_groups, scale);
    if (format_has_min(f))
        store_scales(min_of, n_groups, min);
}

FORCE_INLINE void unpack_row(enum format f, codes_fn codes, scales_fn scales, factor_fn factor, const uint8_t *row, int64_t k, uint8_t *code,
                      float *scale, float *factors, float *min)
{
    const int block = format_info[f].block, n_groups = block / format_info[f].group, at_once = block == 32 ? 4 : 1;
    for (int64_t b = 0, n; b < k / block; b += n, row += n * format_info[f].bytes) {
        float *mins = format_has_min(f) ? min + b * n_groups : NULL;
        n = b + at_once <= k / block ? at_once : 1;
        if (format_has_factor(f))
            factors[b] = factor(row);
        if (n == at_once)
            unpack_blocks(f, codes, scales, row, at_once, code + b * block, scale + b * n_groups, mins);
        else
            unpack_blocks(f, codes, scales, row, 1, code + b * block, scale + b * n_groups, mins);
    }
}

#define DEFINE_UNPACK(name) \
    static void unpack_##name(const uint8_t *row, int64_t k, uint8_t *code, float *scale, float *factors, float *min) \
    { \
        unpack_row(FORMAT_##name, codes_##name, scales_##name, factor_##name, row, k, code, scale, factors, min); \
    }
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, DEFINE_UNPACK(name))
#include "formats/formats.def"
#undef FORMAT

void fill_neon_unpack(struct kernels *table)
{
#define FORMAT(name, id, block, bytes, group, bias, max_code) QUANTIZED(group, table->unpack[FORMAT_##name] = unpack_##name;)
#include "formats/formats.def"
#undef FORMAT
}
