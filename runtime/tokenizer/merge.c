/* Merging the characters of a piece of text into tokens: the pair with the lowest rank first, of equal ranks the leftmost.
 *
 * BPE ranks a pair by the place of "left right" among the merges, SPM by the score of the token that both make together.
 * A heap holds the pairs that may be merged; one whose symbols have changed since is recognized by its length and
 * dropped. O(n log n) for n characters, no recursion.
 */
#include "vocabulary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NO_SYMBOL UINT32_MAX

typedef struct { uint32_t at, length, previous, next; } symbol;   /* length 0: merged into the one before */
typedef struct { uint64_t order; uint32_t length; } pair;         /* order: rank << 32 | left symbol; length of both */

typedef struct {
    const vocabulary *v;
    const uint8_t *text;      /* of the piece at hand; BPE: in the byte alphabet */
    symbol *symbols;          /* [room] */
    pair *heap;               /* [2 room]: a merge takes one pair and adds at most two, and there are < room merges */
    size_t n_heap, room;
    uint8_t *key;             /* BPE: "left right" while it is looked up */
    id_list *out;
} merger;

/* The rank as an unsigned number that falls as the score rises. NaN counts as the lowest score, -0 as 0. */
static uint32_t rank_of_score(const vocabulary *v, uint32_t id) {
    uint32_t bits;
    memcpy(&bits, v->scores + 4 * (size_t)id, 4);
    if (v->integer_scores) return ~(bits ^ 0x80000000u);
    float score;
    memcpy(&score, &bits, 4);
    score = isnan(score) ? -INFINITY : score + 0.0f;
    memcpy(&bits, &score, 4);
    return ~(bits >> 31 ? ~bits : bits | 0x80000000u);
}

static uint32_t rank_of_pair(const merger *m, const symbol *left, const symbol *right) {
    const vocabulary *v = m->v;
    size_t length = (size_t)left->length + right->length;
    if (v->scores) {
        uint32_t id = index_find(&v->ids, m->text + left->at, length);
        return id == NO_ID ? NO_ID : rank_of_score(v, id);
    }
    if (length >= v->merges.longest) return NO_ID;
    memcpy(m->key, m->text + left->at, left->length);
    m->key[left->length] = ' ';
    memcpy(m->key + left->length + 1, m->text + right->at, right->length);
    return index_find(&v->ranks, m->key, length + 1);
}

static void heap_push(merger *m, pair p) {
    size_t i = m->n_heap++;
    for (; i && m->heap[(i - 1) / 2].order > p.order; i = (i - 1) / 2) m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = p;
}

static pair heap_pop(merger *m) {
    pair top = m->heap[0], last = m->heap[--m->n_heap];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < m->n_heap) {
        if (child + 1 < m->n_heap && m->heap[child + 1].order < m->heap[child].order) child++;
        if (m->heap[child].order >= last.order) break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return top;
}

static void offer(merger *m, uint32_t left) {
    if (left == NO_SYMBOL || m->symbols[left].next == NO_SYMBOL) return;
    const symbol *a = m->symbols + left, *b = m->symbols + a->next;
    uint32_t rank = rank_of_pair(m, a, b);
    if (rank != NO_ID) heap_push(m, (pair){(uint64_t)rank << 32 | left, a->length + b->length});
}

static void merge_all(merger *m) {
    while (m->n_heap) {
        pair best = heap_pop(m);
        uint32_t left = (uint32_t)best.order;
        symbol *a = m->symbols + left, *b = m->symbols + a->next;
        if (!a->length || a->next == NO_SYMBOL || a->length + b->length != best.length) continue;
        a->length = best.length;
        a->next = b->next;
        b->length = 0;
        if (a->next != NO_SYMBOL) m->symbols[a->next].previous = left;
        offer(m, a->previous);
        offer(m, left);
    }
}

/* A UTF-8 character's length by its first byte; anything else that is found there counts as one byte. */
static uint32_t char_length(uint8_t first) { return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4; }

static int make_room(merger *m, size_t n) {
    if (n <= m->room) return 0;
    free(m->symbols);
    free(m->heap);
    m->room = n < 256 ? 256 : n;
    m->symbols = malloc(m->room * sizeof *m->symbols);
    m->heap = malloc(2 * m->room * sizeof *m->heap);
    return m->symbols && m->heap ? 0 : NO_MEMORY;
}

static int append(id_list *out, uint32_t id) {
    if (id == NO_ID) return 0;
    if (out->n == out->room) {
        size_t room = out->room ? 2 * out->room : 256;
        uint32_t *ids = realloc(out->ids, room * sizeof *ids);
        if (!ids) return NO_MEMORY;
        out->ids = ids;
        out->room = room;
    }
    out->ids[out->n++] = id;
    return 0;
}

/* What a merge made though it is no token is taken apart into its characters, and a character that is none into its bytes. */
static int append_symbol(merger *m, const symbol *s) {
    const vocabulary *v = m->v;
    const uint8_t *text = m->text + s->at;
    uint32_t id = index_find(&v->ids, text, s->length);
    if (id != NO_ID) return append(m->out, id);
    for (uint32_t i = 0, length; i < s->length; i += length) {
        length = char_length(text[i]);
        if (length > s->length - i) length = s->length - i;
        if ((id = index_find(&v->ids, text + i, length)) != NO_ID) {
            if (append(m->out, id)) return NO_MEMORY;
            continue;
        }
        for (uint32_t j = i; j < i + length; j++)
            if (append(m->out, v->byte_ids[text[j]])) return NO_MEMORY;
    }
    return 0;
}

/* whole: a piece that is a token is taken as it is. */
static int encode_piece(merger *m, const uint8_t *text, size_t n, int whole) {
    m->text = text;
    if (whole) {
        uint32_t id = index_find(&m->v->ids, text, n);
        if (id != NO_ID) return append(m->out, id);
    }
    if (make_room(m, n)) return NO_MEMORY;
    uint32_t count = 0;
    for (size_t at = 0; at < n; count++) {
        uint32_t length = char_length(text[at]);
        if (length > n - at) length = (uint32_t)(n - at);
        m->symbols[count] = (symbol){(uint32_t)at, length, count ? count - 1 : NO_SYMBOL, count + 1};
        at += length;
    }
    if (!count) return 0;
    m->symbols[count - 1].next = NO_SYMBOL;
    m->n_heap = 0;
    for (uint32_t i = 0; i < count; i++) offer(m, i);
    merge_all(m);
    for (uint32_t i = 0; i != NO_SYMBOL; i = m->symbols[i].next)
        if (append_symbol(m, m->symbols + i)) return NO_MEMORY;
    return 0;
}

static int merger_end(merger *m, int status) {
    free(m->symbols);
    free(m->heap);
    free(m->key);
    return status;
}

/* The byte alphabet: printable bytes stand for themselves, the other 68 for U+0100 and on. Returns the bytes written. */
static size_t to_alphabet(const uint8_t *text, size_t n, uint8_t *out) {
    size_t written = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t b = text[i], code = b;
        if (b <= 32) code = 256 + b;
        else if (b >= 127 && b <= 160) code = 256 + 33 + (b - 127);
        else if (b == 173) code = 256 + 67;
        if (code < 128) { out[written++] = (uint8_t)code; continue; }
        out[written++] = (uint8_t)(0xc0 | code >> 6);
        out[written++] = (uint8_t)(0x80 | (code & 0x3f));
    }
    return written;
}

int bpe_encode(const vocabulary *v, const uint8_t *text, size_t n, const uint32_t *ends, size_t n_pieces, id_list *out) {
    merger m = {.v = v, .key = malloc((size_t)v->merges.longest + 1), .out = out};
    uint8_t *mapped = malloc(2 * n + 1);
    int status = m.key && mapped ? 0 : NO_MEMORY;
    uint32_t character = 0;
    size_t begin = 0, end = 0;
    for (size_t i = 0; i < n_pieces && !status; i++, begin = end) {
        for (; character < ends[i] && end < n; character++) end += char_length(text[end]);
        status = encode_piece(&m, mapped, to_alphabet(text + begin, end - begin, mapped), v->ignore_merges);
    }
    free(mapped);
    return merger_end(&m, status);
}

int spm_encode(const vocabulary *v, const uint8_t *text, size_t n, id_list *out) {
    merger m = {.v = v, .key = malloc((size_t)v->merges.longest + 1), .out = out};
    int status = m.key ? 0 : NO_MEMORY;
    /* No merge can cross where nothing puts this byte before a space sign, and short pieces stay in the cache. */
    for (size_t begin = 0, end; begin < n && !status; begin = end) {
        int newlines = v->characters && text[begin] == '\n';
        for (end = begin + 1; end < n; end++) {
            if (v->characters && (text[end] == '\n') != newlines) break;
            if (n - end >= 3 && !memcmp(text + end, "\xe2\x96\x81", 3) && !v->before_space[text[end - 1]]) break;
        }
        status = encode_piece(&m, text + begin, end - begin, newlines);
    }
    return merger_end(&m, status);
}
