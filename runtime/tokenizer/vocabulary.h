/* The vocabulary of a GGUF file, used where it lies in the mapped bytes: nothing is allocated per token.
 *
 * vocabulary.c   string arrays and the hash indexes over them
 * merge.c        a piece of text -> token ids, by merge rank (BPE, and Gemma 4's) or by score (SPM)
 * special_tokens.c  special tokens found in a text
 *
 * Functions returning int give 0, or NO_MEMORY. All ids, counts and positions are uint32: a text has less than 4 GiB.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { NO_MEMORY = -1 };
#define NO_ID UINT32_MAX

/* A string array of GGUF: each string is a u64 length and that many bytes. */
typedef struct {
    const uint8_t *data;
    uint32_t *at;            /* [n + 1] where a string's bytes begin; they end 8 bytes before the next one's */
    uint32_t n, longest;
} strings;

enum strings_fault { STRINGS_FINE, STRINGS_CUT_SHORT, STRINGS_TOO_LONG, STRINGS_WITHOUT_SPACE };

/* Finds n strings in n_bytes of data. merges: each must be "left right", split at the first space that is not its first
 * byte. Returns a strings_fault, with the string's number in *bad, or NO_MEMORY. */
int strings_scan(strings *s, const uint8_t *data, size_t n_bytes, uint32_t n, uint32_t max_length, int merges, uint32_t *bad);
uint32_t string_length(const strings *s, uint32_t i);

/* Text -> number of the first string that equals it. Open addressing; seeded, so that no file can be made to collide. */
typedef struct {
    const strings *of;
    uint64_t *slots;         /* upper half of the hash, then number + 1; 0 is free */
    uint64_t mask, seed;
} string_index;

/* Indexes the strings numbered in `which` [n], or the first n strings if it is NULL. */
int index_build(string_index *ix, const strings *of, const uint32_t *which, uint32_t n, uint64_t seed);
uint32_t index_find(const string_index *ix, const uint8_t *text, size_t length);   /* NO_ID: none, or length 0 */

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };   /* tokenizer.ggml.token_type */

typedef struct {
    strings tokens, merges;      /* merges: not of SPM, which has no ranks either */
    string_index ids, ranks;
    const uint8_t *scores;       /* SPM only: [n_vocab] f32, or i32 if integer_scores; unaligned, in the mapped bytes */
    int integer_scores, ignore_merges;
    int characters;              /* merges are of characters, U+2581 for a space, and not of the byte alphabet: Gemma 4 */
    uint8_t *types;              /* [n_vocab] */
    uint32_t byte_ids[256];      /* what stands for a byte of a symbol that is no token; NO_ID drops it */
    uint8_t before_space[256];   /* SPM and Gemma 4: bytes that some merge puts right before a U+2581 */
} vocabulary;

void vocabulary_prepare(vocabulary *v);   /* fills byte_ids and before_space; the indexes must be there */
void vocabulary_free(vocabulary *v);

typedef struct { uint32_t *ids; size_t n, room; } id_list;

/* Both append to `out` (freed by the caller). bpe: pieces end before the characters numbered in ends [n_pieces].
 * spm: the text has U+2581 for spaces; of `characters`, runs of newlines are pieces of their own. */
int bpe_encode(const vocabulary *v, const uint8_t *text, size_t n, const uint32_t *ends, size_t n_pieces, id_list *out);
int spm_encode(const vocabulary *v, const uint8_t *text, size_t n, id_list *out);

/* The search for the special tokens of some types in a text. */
enum { MAX_SPECIAL = 256 };      /* bytes of the longest special token: bounds the work per byte of text */
typedef struct {
    string_index index;
    uint64_t starts[1024];       /* bit a << 8 | b: some special token begins with the bytes a b, or is the byte a */
    uint32_t lengths[MAX_SPECIAL], n_lengths;   /* the lengths that occur, longest first */
} special_matcher;

typedef struct { uint32_t at, length, id; } token_match;

int matcher_build(special_matcher *m, const vocabulary *v, const uint32_t *ids, uint32_t n, uint64_t seed);
/* Special tokens in text, in its order: each length in turn, longest first, takes all it finds in what is still free. */
int matcher_find(const special_matcher *m, const uint8_t *text, size_t n, token_match **matches, size_t *n_matches);
