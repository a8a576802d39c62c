"""A vocabulary of real size for random models: as many tokens and merges, of about the length, as the real one has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from subbyte.runtime.synthetic.shapes import VocabularySize
from subbyte.runtime.tokenizer.bpe import BYTE_OF

if TYPE_CHECKING:
    from gguf import GGUFWriter

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORD = 8  # syllables of a word, of two letters each
NORMAL, CONTROL = 1, 3


def add_vocabulary(w: GGUFWriter, size: VocabularySize) -> None:
    """Writes tokens and merges. The first special token is BOS, the second EOS; BOS is not added to texts."""
    bos = size.n_tokens - size.n_special
    tokens, merges = words(bos, size.n_merges)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(size.pre)
    w.add_token_list([*tokens, "<|bos|>", "<|eos|>", *(f"<|special {i}|>" for i in range(2, size.n_special))])
    w.add_token_types([NORMAL] * bos + [CONTROL] * size.n_special)
    w.add_token_merges(merges)
    w.add_bos_token_id(bos)
    w.add_eos_token_id(bos + 1)
    w.add_add_bos_token(False)


def words(n_tokens: int, n_merges: int) -> tuple[list[str], list[str]]:
    """The 256 bytes and n_tokens - 256 texts, and merges that make each of them; those of more ways follow after.

    n_merges: from one for each text to about 2.9, as for vocabularies that were tiktoken's, which have every way.
    """
    tokens, first, more = [chr(code) for code in BYTE_OF], list[str](), list[str]()
    known = set(tokens)
    for parts in _texts(n_tokens):
        text = "".join(parts)
        if text not in known and len(tokens) < n_tokens:
            known.add(text)
            tokens.append(text)
            ways = [f"{''.join(parts[:i])} {''.join(parts[i:])}" for i in range(1, len(parts))]
            first.append(ways[-1])
            more += ways[:-1]
    return tokens, (first + more)[:n_merges]


def _texts(enough: int) -> Iterator[Sequence[str]]:
    """Texts as parts that came before: all syllables, then all that is within random words, the shorter ones first."""
    yield from product(LETTERS, LETTERS)
    syllables = ["".join(letters) for letters in product(LETTERS, LETTERS)]
    n_words = enough // (WORD * (WORD - 1) // 2 - WORD) + 1  # some texts come twice
    for word in np.random.default_rng(0).integers(0, len(syllables), (n_words, WORD)):
        parts = [syllables[i] for i in word]
        for length in range(2, WORD + 1):
            yield from (parts[i : i + length] for i in range(WORD + 1 - length))
