/* The formats of formats.def as an enum and a table. */
#ifndef SUBBYTE_FORMATS_H
#define SUBBYTE_FORMATS_H
#include <stdint.h>

enum format {
#define FORMAT(name, id, block, bytes, group, bias, max_code) FORMAT_##name,
#include "formats.def"
#undef FORMAT
    N_FORMATS
};

struct format_info {
    const char *name;
    int id;        /* ggml type id, as a GGUF file stores it */
    int block;     /* weights a block */
    int bytes;     /* bytes a block */
    int group;     /* weights that share a scale: 16, 32, or 0 for plain floats */
    int bias;      /* what was added to make a code unsigned */
    int max_code;  /* no block, valid or not, unpacks to a greater code */
};

static const struct format_info format_info[N_FORMATS] = {
#define FORMAT(name, id, block, bytes, group, bias, max_code) {#name, id, block, bytes, group, bias, max_code},
#include "formats.def"
#undef FORMAT
};

/* QUANTIZED(group, text) is text for a format that has codes and nothing for plain floats: it lets a list made with
 * formats.def leave those out. */
#define QUANTIZED(group, ...) QUANTIZED_##group(__VA_ARGS__)
#define QUANTIZED_0(...)
#define QUANTIZED_16(...) __VA_ARGS__
#define QUANTIZED_32(...) __VA_ARGS__

/* Whether a min is subtracted instead of a bias: true of each quantized format with bias 0. */
static inline int format_has_min(enum format f)
{
    return format_info[f].group != 0 && format_info[f].bias == 0;
}

/* Whether the groups of a block have small integers for scales under one float, the block's factor: true of each block of 256. */
static inline int format_has_factor(enum format f)
{
    return format_info[f].block == 256;
}

/* The bias of folded codes (kernel_table.h): of Q3_K, -4..3 times -32..31. */
static inline int folded_bias(enum format f)
{
    return f == FORMAT_Q3_K ? 124 : format_info[f].bias;
}

/* Bytes of a row of k weights; k is a multiple of the block. */
static inline int64_t row_bytes(enum format f, int64_t k)
{
    return k / format_info[f].block * format_info[f].bytes;
}

/* Bytes of a row of any k elements, filled up to whole blocks: a row of the KV cache. */
static inline int64_t padded_row_bytes(enum format f, int64_t k)
{
    int block = format_info[f].block;
    return row_bytes(f, (k + block - 1) / block * block);
}

#endif
