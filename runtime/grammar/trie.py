"""The vocabulary as llguidance needs it: the bytes of each token, in a trie; made once for a tokenizer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

from subbyte.runtime.grammar.library import llguidance
from subbyte.runtime.protocols import Tokenizer

_lock = threading.Lock()
_tries: WeakKeyDictionary[Tokenizer, Any] = WeakKeyDictionary()


def token_trie(tokenizer: Tokenizer) -> Any:
    """llguidance's `LLTokenizer` for a tokenizer, kept as long as that one is.

    Raises ValueError for a vocabulary without an end-of-generation token.
    """
    if not tokenizer.eog:
        raise ValueError("this model has no end-of-generation token, so an answer under a constraint could not end")
    with _lock:
        if tokenizer not in _tries:
            ends = sorted(tokenizer.eog)
            _tries[tokenizer] = llguidance().LLTokenizer(_Vocabulary(tokenizer, ends[0]), eos_token=ends)
        return _tries[tokenizer]


class _Vocabulary:
    """What llguidance reads of a tokenizer. It must not keep it alive, being kept with it: a cycle through the library
    would not be found by Python's garbage collector.

    Control tokens are never text: a grammar has them by name alone, and a text that looks like one is no such token.
    """

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, end: int) -> None:
        self._tokenizer = ref(tokenizer)
        self.eos_token_id = end
        pieces = [tokenizer.piece(id) for id in range(tokenizer.n_vocab)]
        self.special_token_ids = [id for id, piece in enumerate(pieces) if not piece]
        self._within = next((id for id, piece in enumerate(pieces) if piece.isalpha()), None)
        for id in self.special_token_ids:
            pieces[id] = tokenizer.piece(id, special=True)
        self.tokens: Sequence[bytes] = pieces

    def __call__(self, text: str) -> list[int]:
        """The ids of text within a text. llguidance calls it to find the tokens of text that must come."""
        tokenizer = self._tokenizer()
        assert tokenizer is not None  # a matcher holds it
        return tokenizer.encode(text, after=self._within)
