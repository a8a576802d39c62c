"""The logits processor of tool calls: from the moment a call begins it can only become one that fits its schema."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ConstraintError
from subbyte.kernels import mask_logits
from subbyte.runtime.generation.logits_processors import LogitsProcessor
from subbyte.runtime.generation.output_processor import OutputProcessor
from subbyte.runtime.grammar.matcher import Matcher
from subbyte.runtime.tools.call_grammar import CallGrammars
from subbyte.runtime.tools.parser import BegunCall


class ToolCallProcessor(LogitsProcessor):
    """Leaves the tokens that a call's grammar allows, while one is written; all tokens else.

    A call that goes another way than its grammar, or needs too much of it, is left alone: what comes of it is parsed as
    it is. banned: tokens that other processors make impossible.
    """

    def __init__(self, grammars: CallGrammars, output: OutputProcessor, banned: Collection[int]) -> None:
        self._grammars, self._output, self._banned = grammars, output, frozenset(banned)
        self._matcher: Matcher | None = None
        self._number = 0  # of the last call that has begun
        self._pending: list[int] = []

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """See `LogitsProcessor`."""
        self._catch_up()
        try:
            mask = None if self._matcher is None else self._matcher.mask()
        except ConstraintError:
            mask = self._matcher = None
        if mask is not None and not mask_logits(logits, mask):
            raise ConstraintError("logit_bias, or the model's list of suppressed tokens, bans all that may come next")

    def forced(self) -> Sequence[int]:
        """See `LogitsProcessor`."""
        self._catch_up()
        try:
            tokens = () if self._matcher is None else self._matcher.forced()
        except ConstraintError:
            tokens, self._matcher = (), None
        return () if self._banned.intersection(tokens) else tokens

    def accept(self, token: int) -> None:
        """See `LogitsProcessor`."""
        self._pending.append(token)

    def _catch_up(self) -> None:
        """Takes what has come since the last time."""
        if not self._pending:
            return
        begun = self._output.begun_call
        if begun is None or begun.number != self._number:
            self._matcher = None
        if self._matcher is not None:
            self._matcher = _behind(self._matcher, self._pending)
        elif begun is not None and begun.number > self._number and begun.is_certain:
            self._number = begun.number
            self._matcher = self._begin(begun)
        self._pending.clear()

    def _begin(self, begun: BegunCall) -> Matcher | None:
        matcher = self._grammars.matcher(begun.syntax)
        if matcher is not None:
            try:
                matcher.consume_text(begun.text[len(begun.syntax.trigger) :].encode())
            except ConstraintError:
                return None
        return matcher


def _behind(matcher: Matcher, tokens: Sequence[int]) -> Matcher | None:
    """The matcher behind these tokens; None where there is nothing left to hold to."""
    try:
        for token in tokens:
            matcher.consume(token)
    except ConstraintError:
        return None
    return None if matcher.is_complete else matcher
