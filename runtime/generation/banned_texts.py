"""Texts that must not come, whatever tokens would spell them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.generation.logits_processors import LogitsProcessor
from subbyte.runtime.protocols import Tokenizer

Ids = NDArray[np.intp]


class BannedTexts(LogitsProcessor):
    """Makes each token impossible that would complete one of some texts in the answer.

    That is exact: a text comes at last with one token, which holds it, or begins with what is missing of it. So other
    tokens of a text stay possible, also its first ones. Reasoning counts as answer, a control token as no text.
    """

    def __init__(self, texts: Iterable[str], tokenizer: Tokenizer) -> None:
        self._texts = [_Begun(text.encode("utf-8", "surrogatepass")) for text in texts]
        self._piece, self._vocabulary = tokenizer.piece, _vocabulary(tokenizer)
        self._holding = np.concatenate([self._vocabulary.holding(begun.text) for begun in self._texts])

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """See `LogitsProcessor`."""
        logits[self._holding] = -np.inf
        for begun in self._texts:
            for n in begun.lengths():
                logits[self._vocabulary.beginning_with(begun.text[n:])] = -np.inf

    def allows(self, tokens: Sequence[int]) -> bool:
        """See `LogitsProcessor`."""
        text = b"".join(map(self._piece, tokens))
        return not any(begun.would_come(text) for begun in self._texts)

    def accept(self, token: int) -> None:
        """See `LogitsProcessor`."""
        piece = self._piece(token)
        for begun in self._texts:
            begun.add(piece)


class _Begun:
    """How much of a text the answer ends with, by Knuth, Morris and Pratt, so that time and memory are linear."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._shorter = [0, 0]  # of each length, the next shorter beginning that this one ends with
        self._n = 0  # bytes of the longest beginning that the answer ends with
        for i in range(1, len(text)):
            self._shorter.append(self._longer(self._shorter[i], text[i]))

    def add(self, piece: bytes) -> None:
        """Takes what comes next of the answer."""
        for byte in piece:
            self._n = self._longer(self._n, byte)

    def would_come(self, text: bytes) -> bool:
        """Whether the whole text is in the answer if this comes next."""
        n = self._n
        for byte in text:
            n = self._longer(n, byte)
            if n == len(self.text):
                return True
        return False

    def lengths(self) -> Iterator[int]:
        """Of all beginnings of the text that the answer ends with, but for the empty and the whole one."""
        n = self._n if self._n < len(self.text) else self._shorter[self._n]
        while n:
            yield n
            n = self._shorter[n]

    def _longer(self, n: int, byte: int) -> int:
        """The longest beginning behind one of n bytes and one byte more."""
        while n and (n == len(self.text) or self.text[n] != byte):
            n = self._shorter[n]
        return n + (self.text[n] == byte)


class _Vocabulary:
    """The bytes of all tokens, to search them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        pieces = sorted((tokenizer.piece(id), id) for id in range(tokenizer.n_vocab))
        self._pieces = [piece for piece, _ in pieces]
        self._ids = np.array([id for _, id in pieces], np.intp)

    def holding(self, text: bytes) -> Ids:
        """The tokens that have the text in them."""
        return self._ids[[i for i, piece in enumerate(self._pieces) if text in piece]]

    def beginning_with(self, text: bytes) -> Ids:
        """The tokens that begin with the text."""
        first = bisect_left(self._pieces, text)
        return self._ids[first : bisect_right(self._pieces, text, lo=first, key=lambda piece: piece[: len(text)])]


_vocabularies: WeakKeyDictionary[Tokenizer, _Vocabulary] = WeakKeyDictionary()


def _vocabulary(tokenizer: Tokenizer) -> _Vocabulary:
    if (found := _vocabularies.get(tokenizer)) is None:
        found = _vocabularies[tokenizer] = _Vocabulary(tokenizer)
    return found
