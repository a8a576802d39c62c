"""Texts that must not come, whatever tokens would spell them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
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
        self._texts = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._piece, self._vocabulary = tokenizer.piece, _vocabulary(tokenizer)
        self._holding = np.concatenate([self._vocabulary.holding(text) for text in self._texts])
        self._longest = max(map(len, self._texts)) - 1  # that may have come of a text
        self._end = b""  # of the answer

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """See `LogitsProcessor`."""
        logits[self._holding] = -np.inf
        for text in self._texts:
            for n in range(1, min(len(text), len(self._end) + 1)):
                if self._end.endswith(text[:n]):
                    logits[self._vocabulary.beginning_with(text[n:])] = -np.inf

    def accept(self, token: int) -> None:
        """See `LogitsProcessor`."""
        self._end += self._piece(token)
        self._end = self._end[max(len(self._end) - self._longest, 0) :]


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
