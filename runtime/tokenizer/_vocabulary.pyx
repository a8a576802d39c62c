"""Cython bindings of vocabulary.h: a vocabulary over the bytes of a file, its merges, and the search for special tokens."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from subbyte.errors import TokenizerError

__all__ = [
    "CONTROL", "UNKNOWN", "USER_DEFINED", "UNUSED", "BYTE", "SpecialTokenMatcher", "Vocabulary", "from_byte_alphabet",
]

cdef extern from "<string.h>" nogil:
    void *memmem(const void *text, size_t n, const void *wanted, size_t n_wanted)

cdef extern from "vocabulary.h" nogil:
    const uint32_t NO_ID
    enum: NO_MEMORY, MAX_SPECIAL, STRINGS_FINE, STRINGS_CUT_SHORT, STRINGS_TOO_LONG, STRINGS_WITHOUT_SPACE
    enum:
        c_NORMAL "NORMAL"
        c_UNKNOWN "UNKNOWN"
        c_CONTROL "CONTROL"
        c_USER_DEFINED "USER_DEFINED"
        c_UNUSED "UNUSED"
        c_BYTE "BYTE"

    ctypedef struct strings:
        const uint8_t *data
        uint32_t *at
        uint32_t n

    ctypedef struct string_index:
        uint64_t *slots

    ctypedef struct vocabulary:
        strings tokens, merges
        string_index ids, ranks
        const uint8_t *scores
        int integer_scores, ignore_merges, characters
        uint8_t *types
        uint32_t byte_ids[256]

    ctypedef struct id_list:
        uint32_t *ids
        size_t n

    ctypedef struct special_matcher:
        string_index index

    ctypedef struct token_match:
        uint32_t at, length, id

    int strings_scan(strings *s, const uint8_t *data, size_t n_bytes, uint32_t n, uint32_t max_length, int merges,
                     uint32_t *bad)
    uint32_t string_length(const strings *s, uint32_t i)
    int index_build(string_index *ix, const strings *of, const uint32_t *which, uint32_t n, uint64_t seed)
    uint32_t index_find(const string_index *ix, const uint8_t *text, size_t length)
    void vocabulary_prepare(vocabulary *v)
    void vocabulary_free(vocabulary *v)
    int bpe_encode(const vocabulary *v, const uint8_t *text, size_t n, const uint32_t *ends, size_t n_pieces, id_list *out)
    int spm_encode(const vocabulary *v, const uint8_t *text, size_t n, id_list *out)
    int matcher_build(special_matcher *m, const vocabulary *v, const uint32_t *ids, uint32_t n, uint64_t seed)
    int matcher_find(const special_matcher *m, const uint8_t *text, size_t n, token_match **matches, size_t *n_matches)

UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = c_UNKNOWN, c_CONTROL, c_USER_DEFINED, c_UNUSED, c_BYTE

cdef enum:
    MAX_TOKEN_BYTES = 1 << 16
    MAX_MERGE_BYTES = 2 * MAX_TOKEN_BYTES + 1

FAULTS = {
    STRINGS_CUT_SHORT: "reaches past the end of the array",
    STRINGS_TOO_LONG: f"is longer than {MAX_TOKEN_BYTES} bytes, or lies beyond 4 GiB",
    STRINGS_WITHOUT_SPACE: "is no pair of two pieces with a space between",
}


cdef class Vocabulary:
    """Tokens, types and merges or scores of a vocabulary, in bytes that stay where they are. Immutable once loaded.

    tokens, merges: GGUF string arrays; merges make it a BPE vocabulary
    characters:     the merges are of UTF-8 characters with U+2581 for a space, and not of the byte alphabet
    scores:         n_tokens f32 (or i32) values; they make it a SentencePiece one
    types:          n_tokens i32 values of tokenizer.ggml.token_type, or None: all normal
    seed:           any 64 bits a file's author can't know: they keep hashes from being made to collide
    """

    cdef vocabulary v
    cdef Py_buffer buffers[4]
    cdef int n_buffers
    cdef uint64_t seed

    def __init__(self, tokens, uint32_t n_tokens, *, merges=None, uint32_t n_merges=0, scores=None,
                 bint integer_scores=False, types=None, bint ignore_merges=False, bint characters=False,
                 uint64_t seed=0):
        if self.v.types != NULL or (merges is None) == (scores is None):
            raise ValueError("a vocabulary is made once, of either merges or scores")
        cdef int status
        self.seed = seed
        self.v.integer_scores = integer_scores
        self.v.ignore_merges = ignore_merges
        self.v.characters = characters
        self._read_types(types, n_tokens)
        self._scan(&self.v.tokens, tokens, n_tokens, "tokenizer.ggml.tokens", MAX_TOKEN_BYTES, False)
        if scores is not None:
            self.v.scores = <const uint8_t *>self._hold(scores, 4 * <size_t>n_tokens).buf
        else:
            self._scan(&self.v.merges, merges, n_merges, "tokenizer.ggml.merges", MAX_MERGE_BYTES, True)
        with nogil:
            status = index_build(&self.v.ids, &self.v.tokens, NULL, n_tokens, seed)
            if status == 0 and self.v.merges.at != NULL:
                status = index_build(&self.v.ranks, &self.v.merges, NULL, n_merges, seed)
            if status == 0:
                vocabulary_prepare(&self.v)
        check(status)

    def __dealloc__(self):
        vocabulary_free(&self.v)
        for i in range(self.n_buffers):
            PyBuffer_Release(&self.buffers[i])

    cdef Py_buffer *_hold(self, data, size_t at_least) except NULL:
        cdef Py_buffer *held = &self.buffers[self.n_buffers]
        PyObject_GetBuffer(data, held, PyBUF_SIMPLE)
        self.n_buffers += 1
        if <size_t>held.len < at_least:
            raise ValueError(f"{held.len} bytes given where {at_least} are needed")
        return held

    cdef _scan(self, strings *s, data, uint32_t n, key, uint32_t longest, bint merges):
        cdef Py_buffer *held = self._hold(data, 0)
        cdef uint32_t bad = 0
        cdef int status
        with nogil:
            status = strings_scan(s, <const uint8_t *>held.buf, held.len, n, longest, merges, &bad)
        check(status)
        if status != STRINGS_FINE:
            raise TokenizerError(f"{key}: item {bad} of {n} {FAULTS[status]}; the file is damaged, get it again")

    cdef _read_types(self, types, uint32_t n):
        self.v.types = <uint8_t *>malloc(n + 1)
        if self.v.types == NULL:
            raise MemoryError
        memset(self.v.types, c_NORMAL, n)
        if types is None:
            return
        cdef const uint8_t *given = <const uint8_t *>self._hold(types, 4 * <size_t>n).buf
        cdef int32_t value
        cdef uint32_t i
        for i in range(n):
            memcpy(&value, given + 4 * <size_t>i, 4)
            if value < 0 or value > c_BYTE:
                raise TokenizerError(f"tokenizer.ggml.token_type: token {i} has type {value}, types 1 to {c_BYTE} exist")
            self.v.types[i] = value if value else c_NORMAL

    def __len__(self):
        return self.v.tokens.n

    def _check_id(self, uint64_t id):
        if id >= self.v.tokens.n:
            raise ValueError(f"token id {id} is outside of the vocabulary, ids 0 to {self.v.tokens.n - 1} exist")

    def token(self, uint64_t id):
        """The token's bytes as the file has them. Raises ValueError for an id outside of the vocabulary."""
        self._check_id(id)
        return self.v.tokens.data[self.v.tokens.at[id] : self.v.tokens.at[id] + string_length(&self.v.tokens, id)]

    def type(self, uint64_t id):
        """The token's type: UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE or, for a normal one, 1."""
        self._check_id(id)
        return self.v.types[id]

    def find(self, bytes text not None):
        """The first token with exactly these bytes, or None."""
        cdef uint32_t id = index_find(&self.v.ids, text, len(text))
        return None if id == NO_ID else id

    def containing(self, bytes text not None, int type, size_t limit):
        """The first `limit` tokens of this type whose bytes hold `text`."""
        cdef list found = []
        cdef const uint8_t *wanted = text
        cdef size_t n = len(text)
        cdef uint32_t i
        for i in range(self.v.tokens.n):
            if self.v.types[i] == type and memmem(
                self.v.tokens.data + self.v.tokens.at[i], string_length(&self.v.tokens, i), wanted, n
            ) != NULL:
                found.append(i)
                if <size_t>len(found) >= limit:
                    break
        return found

    def make_control(self, uint64_t id):
        """Treat the token as a control token. For loading only, before `matcher`."""
        self._check_id(id)
        self.v.types[id] = c_CONTROL

    def use_unknown(self, uint64_t id):
        """Let the token stand for bytes that have none of their own. For loading only."""
        self._check_id(id)
        for i in range(256):
            if self.v.byte_ids[i] == NO_ID:
                self.v.byte_ids[i] = id

    def matcher(self, *types):
        """The search for all tokens of these types in a text."""
        return SpecialTokenMatcher(self, types)

    def bpe(self, str text not None, list pieces not None):
        """Token ids of `text`, cut into [(piece, (begin, end in characters)), …] by a pre-tokenizer of `tokenizers`."""
        cdef bytes data = text.encode()
        cdef size_t n_pieces = len(pieces), i
        cdef uint32_t *ends = <uint32_t *>malloc((n_pieces + 1) * sizeof(uint32_t))
        cdef const uint8_t *base = data
        cdef size_t n = len(data)
        cdef id_list out = id_list(NULL, 0)
        cdef int status
        if ends == NULL:
            raise MemoryError
        try:
            check_length(n)
            for i in range(n_pieces):
                ends[i] = pieces[i][1][1]
            with nogil:
                status = bpe_encode(&self.v, base, n, ends, n_pieces, &out)
            check(status)
            return [out.ids[i] for i in range(out.n)]
        finally:
            free(ends)
            free(out.ids)

    def spm(self, bytes text not None):
        """Token ids of UTF-8 text whose spaces are written as U+2581."""
        cdef const uint8_t *base = text
        cdef size_t n = len(text), i
        cdef id_list out = id_list(NULL, 0)
        cdef int status
        try:
            check_length(n)
            with nogil:
                status = spm_encode(&self.v, base, n, &out)
            check(status)
            return [out.ids[i] for i in range(out.n)]
        finally:
            free(out.ids)


cdef class SpecialTokenMatcher:
    """Finds the tokens of some types in a text. Made by `Vocabulary.matcher`."""

    cdef special_matcher m
    cdef Vocabulary vocabulary

    def __init__(self, Vocabulary vocabulary not None, tuple types not None):
        if self.vocabulary is not None:
            raise ValueError("a matcher is made once")
        cdef const uint8_t *type_of = vocabulary.v.types
        cdef uint32_t n_vocab = vocabulary.v.tokens.n, n = 0, i
        cdef uint32_t *ids = <uint32_t *>malloc((n_vocab + 1) * sizeof(uint32_t))
        cdef bint wanted[256]
        cdef int status = NO_MEMORY
        if ids == NULL:
            raise MemoryError
        self.vocabulary = vocabulary
        memset(wanted, 0, sizeof(wanted))
        for type in types:
            wanted[<int>type] = True
        try:
            for i in range(n_vocab):
                if wanted[type_of[i]]:
                    if string_length(&vocabulary.v.tokens, i) > MAX_SPECIAL:
                        raise TokenizerError(f"special token {i} is longer than {MAX_SPECIAL} bytes")
                    ids[n] = i
                    n += 1
            with nogil:
                status = matcher_build(&self.m, &vocabulary.v, ids, n, vocabulary.seed)
            check(status)
        finally:
            free(ids)

    def __dealloc__(self):
        free(self.m.index.slots)

    def find(self, bytes text not None):
        """The tokens in a text, in its order: [(byte position, bytes, token id), …]."""
        cdef const uint8_t *base = text
        cdef size_t n = len(text), n_matches = 0, i
        cdef token_match *matches = NULL
        cdef int status
        try:
            check_length(n)
            with nogil:
                status = matcher_find(&self.m, base, n, &matches, &n_matches)
            check(status)
            return [(matches[i].at, matches[i].length, matches[i].id) for i in range(n_matches)]
        finally:
            free(matches)


def from_byte_alphabet(bytes token not None):
    """The bytes that a token of the byte alphabet (`BYTE_OF` of bpe.py) stands for; None if it has other characters.

    Here, since a grammar over a vocabulary needs those of all its tokens at once.
    """
    cdef const uint8_t *text = token
    cdef Py_ssize_t n = len(token), i = 0, n_out = 0
    cdef uint32_t code
    cdef bytearray out = bytearray(n)
    cdef uint8_t *to = out
    while i < n:
        code = text[i]
        if 0xC2 <= code <= 0xC5 and i + 1 < n and text[i + 1] >> 6 == 2:
            code = (code & 0x1F) << 6 | text[i + 1] & 0x3F
            i += 1
            if not 161 <= code <= 323 or code == 0xAD:
                return None
        elif not 33 <= code <= 126:
            return None
        i += 1
        if code == 323:
            code = 0xAD
        elif code >= 289:
            code += 127 - 289
        elif code >= 256:
            code -= 256
        to[n_out] = code
        n_out += 1
    return bytes(out[:n_out])


cdef int check(int status) except -1:
    if status == NO_MEMORY:
        raise MemoryError
    return 0


cdef int check_length(size_t n) except -1:
    if n >= (1 << 31):
        raise ValueError(f"a text of {n} bytes is too long, at most 2 GiB can be tokenized at once")
    return 0
