"""How far an answer has come in a grammar, and which tokens may come next."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ConstraintError
from subbyte.runtime.grammar.library import llguidance, with_deep_stack
from subbyte.runtime.grammar.trie import token_trie
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.text import one_line


def limits(library: ModuleType) -> Any:
    """How much compiling a grammar, and going a token on, may take; what needs more is an error. Below the defaults."""
    return library.LLParserLimits(
        initial_lexer_fuel=300_000,
        step_lexer_fuel=100_000,
        max_lexer_states=50_000,
        max_grammar_size=200_000,
        precompute_large_lexemes=False,
        verbose_errors=False,
    )


class Matcher:
    """The state of one answer in a grammar: a mask of the tokens that may come next, and those that must.

    Made by `Constraint.matcher`. Not for several threads at once. Its methods raise ConstraintError where the grammar
    can't go on: a token that it does not allow, no next token, or one that takes too much time or memory.
    """

    def __init__(self, kind: str, grammar: str, tokenizer: Tokenizer) -> None:
        self._kind, self._tokenizer = kind, tokenizer
        self._trie = token_trie(tokenizer)
        library = llguidance()
        self._matcher = with_deep_stack(
            len(grammar), lambda: library.LLMatcher(self._trie, grammar, log_level=0, limits=limits(library))
        )
        self._mask: NDArray[np.uint32] | None = None
        self._forced: list[int] | None = None
        try:
            self.mask()
        except ConstraintError:
            reason = self._error() or "no text is allowed by it, or none that its tokens can spell"
            raise ValueError(f"the {kind} can't be used with this model: {reason}") from None

    @property
    def is_complete(self) -> bool:
        """Whether the grammar has come to its end: nothing but an end-of-generation token may come."""
        return bool(self._matcher.is_stopped())

    @property
    def may_end(self) -> bool:
        """Whether the answer may end here; it may still go on unless `is_complete`."""
        return bool(self._matcher.is_accepting())

    def mask(self) -> NDArray[np.uint32]:
        """Which tokens may come next: a bit each, uint32 [(n_vocab + 31) // 32], the lowest bit first.

        End-of-generation tokens may come where the answer may end.
        """
        if self._mask is None:
            words = np.frombuffer(self._matcher.compute_bitmask(), np.uint32)
            self._mask = words[: (self._tokenizer.n_vocab + 31) // 32]  # there may be one more
            if self._matcher.is_error():
                raise self._failed()
            if not self._mask.any():
                raise ConstraintError(f"the {self._kind} allows nothing more, and no end; loosen it")
        return self._mask

    def forced(self) -> Sequence[int]:
        """The tokens that must come next whatever the logits say, cut as the tokenizer does; empty: the logits decide.

        Where there are some, the mask has the first of them alone: to take them unasked changes nothing but time.
        """
        if self._forced is None:
            self._forced = [] if self.is_complete else list(self._matcher.compute_ff_tokens())
            if self._matcher.is_error():
                raise self._failed()
        return self._forced

    def consume(self, token: int) -> None:
        """Takes the token that has come."""
        if not self._matcher.consume_token(token):
            raise self._failed()
        self._mask = None
        self._forced = self._forced[1:] if self._forced and self._forced[0] == token else None
        self._forced = self._forced or None

    def consume_text(self, text: bytes) -> None:
        """Takes text that has come, whatever its tokens were."""
        for token in self._trie.tokenize_bytes(text):
            self.consume(token)

    def _failed(self) -> ConstraintError:
        return ConstraintError(f"the {self._kind} can't be followed any further: {self._error()}")

    def _error(self) -> str:
        return one_line(self._matcher.get_error().partition("<state>")[0].partition("<non-verbose/>")[0])[:300]
