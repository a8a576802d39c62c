/* String arrays in mapped bytes, and hash indexes over them. */
#include "vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, AHEAD = 16 };   /* AHEAD: strings hashed before the first of them is stored, to hide cache misses */

static uint64_t load64(const uint8_t *p) { uint64_t x; memcpy(&x, p, 8); return x; }
static uint32_t load32(const uint8_t *p) { uint32_t x; memcpy(&x, p, 4); return x; }

/* Not read from the file again, which may have been changed since. */
uint32_t string_length(const strings *s, uint32_t i) { return s->at[i + 1] - LENGTH_BYTES - s->at[i]; }

int strings_scan(strings *s, const uint8_t *data, size_t n_bytes, uint32_t n, uint32_t max_length, int merges, uint32_t *bad) {
    *s = (strings){.data = data, .at = malloc(sizeof(uint32_t) * ((size_t)n + 1))};
    if (!s->at) return NO_MEMORY;
    size_t pos = 0;
    for (uint32_t i = 0; i < n; i++) {
        *bad = i;
        if (n_bytes - pos < LENGTH_BYTES) return STRINGS_CUT_SHORT;
        uint64_t length = load64(data + pos);
        pos += LENGTH_BYTES;
        if (length > n_bytes - pos) return STRINGS_CUT_SHORT;
        if (length > max_length || pos + length > UINT32_MAX - LENGTH_BYTES) return STRINGS_TOO_LONG;
        if (merges && (length < 2 || !memchr(data + pos + 1, ' ', length - 1))) return STRINGS_WITHOUT_SPACE;
        if (length > s->longest) s->longest = (uint32_t)length;
        s->at[i] = (uint32_t)pos;
        pos += length;
    }
    s->n = n;
    s->at[n] = (uint32_t)pos + LENGTH_BYTES;
    return STRINGS_FINE;
}

/* Folds 8 bytes at a time with 64 x 64 -> 128 bit products by odd constants (digits of pi). */
static uint64_t fold(uint64_t x, uint64_t constant) {
    unsigned __int128 product = (unsigned __int128)x * constant;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash(const uint8_t *s, size_t n, uint64_t seed) {
    uint64_t h = seed ^ fold(n + 1, 0x243f6a8885a308d3), rest = 0;
    for (; n > 8; s += 8, n -= 8) h = fold(h ^ load64(s), 0x13198a2e03707345);
    if (n >= 4) rest = load32(s) | (uint64_t)load32(s + n - 4) << 32;
    else if (n) rest = s[0] | (uint64_t)s[n / 2] << 8 | (uint64_t)s[n - 1] << 16;
    return fold(h ^ rest, 0xa4093822299f31d1);
}

static int equals(const strings *s, uint32_t i, const uint8_t *text, size_t length) {
    return string_length(s, i) == length && memcmp(s->data + s->at[i], text, length) == 0;
}

/* The slot that holds the text, or the free one where it belongs. */
static uint64_t *slot_of(const string_index *ix, uint64_t h, const uint8_t *text, size_t length) {
    for (uint64_t i = h & ix->mask;; i = (i + 1) & ix->mask) {
        uint64_t *slot = ix->slots + i;
        if (!*slot || (*slot >> 32 == h >> 32 && equals(ix->of, (uint32_t)*slot - 1, text, length))) return slot;
    }
}

int index_build(string_index *ix, const strings *of, const uint32_t *which, uint32_t n, uint64_t seed) {
    uint64_t size = 16, ahead[AHEAD];
    while (size < 2 * (uint64_t)n) size *= 2;
    *ix = (string_index){.of = of, .slots = calloc(size, sizeof *ix->slots), .mask = size - 1, .seed = seed};
    if (!ix->slots) return NO_MEMORY;
    for (uint32_t begin = 0; begin < n; begin += AHEAD) {
        uint32_t end = n - begin < AHEAD ? n : begin + AHEAD;
        for (uint32_t i = begin; i < end; i++) {
            uint32_t number = which ? which[i] : i;
            ahead[i - begin] = hash(of->data + of->at[number], string_length(of, number), seed);
            __builtin_prefetch(ix->slots + (ahead[i - begin] & ix->mask), 1);
        }
        for (uint32_t i = begin; i < end; i++) {
            uint32_t number = which ? which[i] : i;
            uint64_t *slot = slot_of(ix, ahead[i - begin], of->data + of->at[number], string_length(of, number));
            if (!*slot) *slot = (ahead[i - begin] >> 32 << 32) | (number + 1);
        }
    }
    return 0;
}

uint32_t index_find(const string_index *ix, const uint8_t *text, size_t length) {
    if (length == 0 || length > ix->of->longest) return NO_ID;
    return (uint32_t)*slot_of(ix, hash(text, length, ix->seed), text, length) - 1;   /* a free slot gives 0 - 1 = NO_ID */
}

static int starts_with_space(const uint8_t *s, const uint8_t *end) { return end - s >= 3 && !memcmp(s, "\xe2\x96\x81", 3); }

/* A token that holds a byte and then a space sign was merged where the two meet: of tokens any such place is marked, of
 * merges that between "left" and "right". */
static void mark_before_space(vocabulary *v) {
    const strings *of = v->characters ? &v->merges : &v->tokens;
    for (uint32_t i = 0; i < of->n; i++) {
        const uint8_t *s = of->data + of->at[i], *end = s + string_length(of, i);
        for (s++; s < end; s++) {
            if (!v->characters && starts_with_space(s, end)) v->before_space[s[-1]] = 1;
            if (v->characters && *s == ' ' && starts_with_space(s + 1, end)) v->before_space[s[-1]] = 1;
        }
    }
}

void vocabulary_prepare(vocabulary *v) {
    int spaced = v->scores || v->characters;
    for (int byte = 0; byte < 256; byte++) {
        char hex[8];
        uint8_t raw = (uint8_t)byte;
        snprintf(hex, sizeof hex, "<0x%02X>", byte);
        uint32_t id = spaced ? index_find(&v->ids, (const uint8_t *)hex, 6) : NO_ID;
        v->byte_ids[byte] = id != NO_ID || v->characters ? id : index_find(&v->ids, &raw, 1);
    }
    if (spaced) mark_before_space(v);
}

void vocabulary_free(vocabulary *v) {
    free(v->tokens.at);
    free(v->merges.at);
    free(v->ids.slots);
    free(v->ranks.slots);
    free(v->types);
}
