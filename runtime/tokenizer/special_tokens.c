/* Special tokens in a text. */
#include "vocabulary.h"

#include <stdlib.h>
#include <string.h>

static uint64_t *start_word(special_matcher *m, uint32_t start) { return m->starts + start / 64; }

static int may_start(const special_matcher *m, const uint8_t *text, size_t left) {
    uint32_t start = (uint32_t)text[0] << 8 | (left > 1 ? text[1] : 0);
    return m->starts[start / 64] >> start % 64 & 1;
}

int matcher_build(special_matcher *m, const vocabulary *v, const uint32_t *ids, uint32_t n, uint64_t seed) {
    uint8_t occurs[MAX_SPECIAL + 1] = {0};
    memset(m, 0, sizeof *m);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *s = v->tokens.data + v->tokens.at[ids[i]];
        uint32_t length = string_length(&v->tokens, ids[i]);
        if (length == 0 || length > MAX_SPECIAL) continue;
        occurs[length] = 1;
        for (uint32_t second = length > 1 ? s[1] : 0; second < (length > 1 ? s[1] + 1u : 256); second++) {
            uint32_t start = (uint32_t)s[0] << 8 | second;
            *start_word(m, start) |= (uint64_t)1 << start % 64;
        }
    }
    for (uint32_t length = MAX_SPECIAL; length; length--)
        if (occurs[length]) m->lengths[m->n_lengths++] = length;
    return index_build(&m->index, &v->tokens, ids, n, seed);
}

/* Marks in `taken` and in `found` what the tokens of one length find, left to right. */
static void take(const special_matcher *m, uint32_t length, const uint8_t *text, size_t n, uint8_t *taken,
                 token_match *found, size_t n_found) {
    for (size_t i = 0; i < n_found && found[i].at + (size_t)length <= n; i++) {
        uint32_t at = found[i].at;
        if (taken[at] || taken[at + length - 1]) continue;   /* what is taken is no shorter, so its ends would show */
        uint32_t id = index_find(&m->index, text + at, length);
        if (id == NO_ID) continue;
        found[i].id = id;
        found[i].length = length;
        memset(taken + at, 1, length);
    }
}

int matcher_find(const special_matcher *m, const uint8_t *text, size_t n, token_match **matches, size_t *n_matches) {
    size_t n_found = 0;
    *matches = NULL;
    *n_matches = 0;
    for (size_t at = 0; at < n; at++) n_found += (size_t)may_start(m, text + at, n - at);
    if (!n_found) return 0;
    token_match *found = *matches = malloc(n_found * sizeof *found);
    uint8_t *taken = calloc(n, 1);
    if (!found || !taken) { free(taken); return NO_MEMORY; }
    n_found = 0;
    for (size_t at = 0; at < n; at++)
        if (may_start(m, text + at, n - at)) found[n_found++] = (token_match){(uint32_t)at, 0, NO_ID};
    for (uint32_t i = 0; i < m->n_lengths; i++) take(m, m->lengths[i], text, n, taken, found, n_found);
    for (size_t i = 0; i < n_found; i++)
        if (found[i].id != NO_ID) found[(*n_matches)++] = found[i];
    free(taken);
    return 0;
}
