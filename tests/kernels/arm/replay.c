/* Replays test vectors, results and all, on every table of cpu/kernel_table.h that this machine has. One line for each that differs; exit
 * code 0: none, 1: some, 2: no vectors, or not for this program. Arguments: the file of vectors, the tables expected here. */
#include "vectors.h"
#include "cpu/kernel_table.h"

static const struct kernels *table;
static enum format format;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- exact ---- */

/* sizes: k. rows; floats */
static void replay_to_float(void)
{
    float *out = space(vector->bytes[1], 4);
    table->to_float[format](input(0, 1), vector->size[0], out);
    compare_floats("", out, 1);
}

/* sizes: k. rows; codes, scales, mins or none */
static void replay_unpack(void)
{
    uint8_t *code = space(vector->bytes[1], 1);
    float *scale = space(vector->bytes[2], 4), *min = space(vector->bytes[3], 4), *factor = space(vector->size[0] / 64 + 4, 4);
    table->unpack[format](input(0, 1), vector->size[0], code, scale, factor, min);
    compare_bytes("codes", code, 1);
    const int64_t n_scales = vector->bytes[2] / 4, of_block = 256 / format_info[format].group;
    for (int64_t i = 0; i < n_scales && format_has_factor(format); i++)
        scale[i] *= factor[i / of_block];
    compare_floats("scales", scale, 2);
    compare_floats("mins", min, 3);
}

/* sizes: k. x; q, scale, sum */
static void replay_quantize(void)
{
    struct q8_row out = {space(vector->bytes[1], 1), space(vector->bytes[2], 4), space(vector->bytes[3], 2)};
    table->quantize(input(0, 4), vector->size[0], out);
    compare_bytes("q", out.q, 1);
    compare_floats("scale", out.scale, 2);
    compare_bytes("sum", out.sum, 3);
}

/* sizes: n. halves; floats */
static void replay_f16_to_float(void)
{
    float *out = space(vector->bytes[1], 4);
    table->f16_to_float(input(0, 2), vector->size[0], out);
    compare_floats("", out, 1);
}

/* sizes: n. floats; halves */
static void replay_float_to_f16(void)
{
    uint16_t *out = space(vector->bytes[1], 2);
    table->float_to_f16(input(0, 4), vector->size[0], out);
    compare_bytes("", out, 1);
}

/* sizes: n. x, y; sums, number * sums */
static void replay_add_scale(void)
{
    float *x = input(0, 4);
    table->add(x, input(1, 4), vector->size[0]);
    compare_floats("sum", x, 2);
    table->scale(x, (float)vector->number, vector->size[0]);
    compare_floats("scaled", x, 3);
}

/* ---- products; results [n_tokens][n_rows] with their bounds ---- */

/* The tile that starts i activations after the first. */
static struct q8_tile tile_at(struct q8_tile first, int64_t i)
{
    return (struct q8_tile){first.q + i, first.scale + i / 32, first.sum + i / 16};
}

/* sizes: n_rows, k, n_tokens. rows, q, scale, sum of the activations; results. Every way gives the same bits. */
static void replay_product(void)
{
    const int64_t n_rows = vector->size[0], k = vector->size[1], n_tokens = vector->size[2], group = format_info[format].group;
    const uint8_t *rows = input(0, 1);
    const struct q8_row x = {input(1, 1), input(2, 4), input(3, 2)};
    struct panel w = {.code = space(PANEL_ROWS * k, 1), .scale = space(4 * PANEL_ROWS * k / group, 4),
                      .factor = space(4 * PANEL_ROWS * (k / 256 + 1), 4), .min = space(4 * PANEL_ROWS * k / group, 4), .k = k,
                      .min_group = (int)group, .max_code = format_info[format].max_code, .has_factor = format_has_factor(format), .has_min = format_has_min(format)};
    const int64_t lanes = table->lanes, at_once = lanes * table->gemm_tiles, padded = (n_tokens + lanes - 1) / lanes * lanes;
    const struct q8_tile tiles = {space(padded * k, 64), space(padded * k / 8, 64), space(padded * k / 4, 64)};
    float *out = space(4 * n_tokens * n_rows, 4), *one = space(4 * n_rows, 4), *dots = space(4 * n_tokens * n_rows, 4);

    for (int64_t t = 0; t < n_tokens; t += lanes)
        table->pack_q8(q8_token(x, t, k), (int)smaller(lanes, n_tokens - t), k, tile_at(tiles, t * k));
    for (int64_t r = 0; r < n_rows; r += PANEL_ROWS) {
        w.n_rows = (int)smaller(PANEL_ROWS, n_rows - r), w.group = (int)group, w.bias = format_info[format].bias;
        for (int i = 0; i < w.n_rows; i++)
            table->unpack[format](rows + row_bytes(format, (r + i) * k), k, w.code + i * k, w.scale + i * k / group,
                                  w.factor + i * (k / 256), w.min + i * k / group);
        for (int64_t t = 0; t < n_tokens; t++) {
            table->dot_codes(&w, q8_token(x, t, k), one);
            compare_close("dot_codes", one, t * n_rows + r, w.n_rows, 4);
            memcpy(dots + t * n_rows + r, one, 4 * w.n_rows);
        }
        for (int i = 0; i < w.n_rows && table->fold[format]; i++) {
            table->fold[format](k, w.code + i * k, w.scale + i * k / group);
            w.group = FOLDED, w.bias = folded_bias(format), w.max_code = UINT8_MAX;
        }
        for (int64_t t = 0; t < n_tokens; t += at_once) {
            struct q8_tile tile = tile_at(tiles, t * k);
            table->gemm(&w, &tile, (int)smaller(at_once, n_tokens - t), out + t * n_rows + r, n_rows);
        }
    }
    compare_close("gemm", out, 0, n_tokens * n_rows, 4);
    compare_same("dot_codes and gemm", dots, out, n_tokens * n_rows);
    if (table->dot[format]) {
        memset(dots, 0xff, 4 * n_tokens * n_rows);
        table->dot[format](rows, (int)n_rows, k, x, (int)n_tokens, dots, n_rows);
        compare_same("dot and gemm", dots, out, n_tokens * n_rows);
    }
}

/* sizes: n_rows, k, n_tokens. rows, x; results */
static void replay_dot_float(void)
{
    const int64_t n_rows = vector->size[0], n_tokens = vector->size[2];
    float *out = space(4 * n_tokens * n_rows, 4);
    table->dot_float[format](input(0, 1), (int)n_rows, vector->size[1], input(1, 4), (int)n_tokens, out, n_rows);
    compare_close("", out, 0, n_tokens * n_rows, 2);
}

/* sizes: n_rows, k, n_tokens. rows, x; results */
static void replay_gemm_float(void)
{
    const int64_t n_rows = vector->size[0], k = vector->size[1], n_tokens = vector->size[2], lanes = table->lanes;
    const float *x = input(1, 4);
    float *tiles = space(4 * k * lanes * ((n_tokens + lanes - 1) / lanes), 64), *out = space(4 * n_tokens * n_rows, 4);
    for (int64_t t = 0; t < n_tokens; t += lanes)
        table->pack_float(x + t * k, k, (int)smaller(lanes, n_tokens - t), k, tiles + t * k);
    table->gemm_float(input(0, 4), (int)n_rows, k, tiles, (int)n_tokens, out, n_rows);
    compare_close("", out, 0, n_tokens * n_rows, 2);
}

/* ---- the rest of a layer ---- */

/* sizes: n; number: eps. x, weight; results */
static void replay_rms_norm(void)
{
    float *x = input(0, 4);
    table->rms_norm(x, input(1, 4), vector->size[0], (float)vector->number, x);
    compare_close("", x, 0, vector->size[0], 2);
}

/* sizes: n_pairs, interleaved. head, cos, sin; results */
static void replay_rope(void)
{
    float *head = input(0, 4);
    table->rope(head, (int)vector->size[0], input(1, 4), input(2, 4), (int)vector->size[1]);
    compare_close("", head, 0, vector->bytes[0] / 4, 3);
}

/* sizes: n. gate, up; results and their bounds of silu_mul, of gelu_mul, of clamped_silu_mul */
static void replay_gates(void)
{
    const float *gate = input(0, 4), *up = input(1, 4);
    float *out = space(vector->bytes[0], 4);
    table->silu_mul(gate, up, vector->size[0], out);
    compare_close("silu", out, 0, vector->size[0], 2);
    table->gelu_mul(gate, up, vector->size[0], out);
    compare_close("gelu", out, 0, vector->size[0], 4);
    table->clamped_silu_mul(gate, up, vector->size[0], out);
    compare_close("clamped silu", out, 0, vector->size[0], 6);
}

/* sizes: n. gate, up; results of relu_mul, and 0 for each */
static void replay_relu(void)
{
    float *out = space(vector->bytes[0], 4);
    table->relu_mul(input(0, 4), input(1, 4), vector->size[0], out);
    compare_close("", out, 0, vector->size[0], 2);
}

/* sizes: n. x; maximum and sum */
static void replay_max_sum_exp(void)
{
    float max;
    double sum;
    table->max_sum_exp(input(0, 4), vector->size[0], &max, &sum);
    compare_close("", (float[]){max, (float)sum}, 0, 2, 1);
}

/* Where parts of the keys that some position of pos..last - 1 sees begin, and where the last one ends: one part, or two, cut
 * where the vector says. Returns how many. */
static int cut_keys(int64_t pos, int64_t last, int64_t end[3])
{
    const int64_t window = vector->size[4], cut = vector->size[5];
    end[0] = window && pos >= window ? pos - window + 1 : 0;
    end[1] = end[2] = last;
    if (cut)
        end[1] = cut < end[0] ? end[0] : smaller(cut, last);
    return cut ? 2 : 1;
}

/* Splits that lie `stride` floats apart. */
static void combine(const float *splits, int64_t stride, int n_splits, int n_head, int head_dim, float *total, float *out)
{
    memcpy(total, splits, 4 * n_head * split_row(head_dim));
    for (int i = 1; i < n_splits; i++)
        table->merge_split(splits + i * stride, n_head, head_dim, total);
    table->finish_attention(total, n_head, head_dim, out);
}

/* sizes: n_tokens, n_head, head_dim, pos0, window, key to cut at or 0, softcap; number: scale. q, rows of k, rows of v;
 * results [n_tokens][n_head][head_dim] */
static void replay_attention(void)
{
    const int64_t n_tokens = vector->size[0], pos0 = vector->size[3], window = vector->size[4];
    const int n_head = (int)vector->size[1], head_dim = (int)vector->size[2];
    const int64_t width = n_head * head_dim, part = n_head * split_row(head_dim), alignment = format == FORMAT_F32 ? 4 : 2;
    const float *q = input(0, 4), scale = (float)vector->number, softcap = (float)vector->size[6];
    const struct kv_head kv = {input(1, alignment), input(2, alignment), format};
    float *scratch = space(4 * attention_scratch(n_head, head_dim), 64), *total = space(4 * part, 4);
    float *parts = space(4 * 2 * part, 4), *tile_parts = space(4 * 2 * part * table->lanes, 4), *out = space(4 * width, 4);
    float *ones = space(4 * n_tokens * width, 4);
    int64_t end[3];

    for (int64_t t = 0; t < n_tokens; t++) {
        int n_parts = cut_keys(pos0 + t, pos0 + t + 1, end);
        for (int p = 0; p < n_parts; p++)
            table->attention_decode(q + t * width, n_head, head_dim, kv, end[p], end[p + 1], scale, softcap, scratch,
                                    parts + p * part);
        combine(parts, part, n_parts, n_head, head_dim, total, ones + t * width);
        compare_close("one", ones + t * width, t * width, width, 3);
    }
    for (int64_t t = 0; t < n_tokens; t += table->lanes) {
        int n = (int)smaller(table->lanes, n_tokens - t), n_parts = cut_keys(pos0 + t, pos0 + t + n, end);
        for (int p = 0; p < n_parts; p++)
            table->attention_prefill(q + t * width, width, n, n_head, head_dim, kv, pos0 + t, window, end[p], end[p + 1], scale,
                                     softcap, scratch, tile_parts + p * n * part);
        for (int i = 0; i < n; i++) {
            combine(tile_parts + i * part, n * part, n_parts, n_head, head_dim, total, out);
            compare_same("tile and one", out, ones + (t + i) * width, width);
        }
    }
}

static const struct { const char *name; void (*replay)(void); } slots[] = {
    {"to_float", replay_to_float}, {"unpack", replay_unpack}, {"quantize", replay_quantize}, {"f16_to_float", replay_f16_to_float},
    {"float_to_f16", replay_float_to_f16}, {"add_scale", replay_add_scale}, {"product", replay_product},
    {"dot_float", replay_dot_float}, {"gemm_float", replay_gemm_float}, {"rms_norm", replay_rms_norm}, {"rope", replay_rope},
    {"gates", replay_gates}, {"relu", replay_relu}, {"max_sum_exp", replay_max_sum_exp}, {"attention", replay_attention},
};

/* The vector at p; returns where the next one is. */
static const uint8_t *replay(const uint8_t *p)
{
    vector = (const struct vector *)p;
    p += sizeof *vector;
    for (int i = 0; i < MAX_ARRAYS; p += (vector->bytes[i++] + 7) & ~7)
        array[i] = p;
    for (format = 0; format < N_FORMATS - 1 && strcmp(format_info[format].name, vector->format) != 0;)
        format++;
    for (size_t s = 0; s < sizeof slots / sizeof *slots; s++)
        if (strcmp(slots[s].name, vector->slot) == 0) {
            for (at_odd_address = 0; at_odd_address < 2; at_odd_address++) {
                n_arenas_used = 0;
                slots[s].replay();
            }
            return p;
        }
    exit(2);
}

int main(int argc, char **argv)
{
    const char *names[MAX_TABLES];
    int n_tables = kernels_usable(names), n_vectors = 0;
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!file || fseek(file, 0, SEEK_END) != 0)
        return 2;
    int64_t size = ftell(file);
    uint8_t *all = malloc(size + 1);
    rewind(file);
    if (!all || size == 0 || fread(all, 1, size, file) != (size_t)size)
        return 2;
    make_arenas();
    for (int i = 0; i < n_tables; i++)
        printf("%s%s", names[i], i < n_tables - 1 ? " " : "\n");
    for (int i = 0; i < n_tables; i++) {
        isa = names[i];
        table = kernels_of(isa);
        n_vectors = 0;
        for (const uint8_t *p = all; p < all + size; n_vectors++)
            p = replay(p);
    }
    printf("%d vectors, %d failures\n", n_vectors, n_failures);
    return n_failures > 0;
}
