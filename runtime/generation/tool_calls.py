"""The logits processor of tool calls: from the moment a call begins it can only become one that fits its schema."""

import logging
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ConstraintError, SubbyteError
from subbyte.kernels import mask_logits
from subbyte.runtime.generation.logits_processors import LogitsProcessor
from subbyte.runtime.generation.output_processor import OutputProcessor
from subbyte.runtime.grammar.matcher import Matcher
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.tools.call_grammar import CallGrammars
from subbyte.runtime.tools.format import Syntax

_log = logging.getLogger("subbyte")


class ToolCallProcessor(LogitsProcessor):
    """Leaves the tokens that a call's grammar allows, while one is written; all tokens else.

    A call that has begun in a way that its grammar does not know is left alone: what comes of it is parsed as it is.
    banned: tokens that other processors make impossible.
    """

    def __init__(
        self, grammars: CallGrammars, output: OutputProcessor, tokenizer: Tokenizer, banned: Collection[int]
    ) -> None:
        self._grammars, self._output, self._tokenizer, self._banned = grammars, output, tokenizer, frozenset(banned)
        self._matcher: Matcher | None = None
        self._n_seen = 0  # beginnings of calls
        self._pending: list[int] = []

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """See `LogitsProcessor`."""
        self._catch_up()
        if self._matcher is not None and not mask_logits(logits, self._matcher.mask()):
            raise ConstraintError("logit_bias, or the model's list of suppressed tokens, bans all that may come next")

    def forced(self) -> Sequence[int]:
        """See `LogitsProcessor`."""
        self._catch_up()
        tokens = () if self._matcher is None else self._matcher.forced()
        return () if self._banned.intersection(tokens) else tokens

    def accept(self, token: int) -> None:
        """See `LogitsProcessor`."""
        self._pending.append(token)

    def _catch_up(self) -> None:
        """Takes what has come since the last time."""
        if not self._pending:
            return
        if self._matcher is not None:
            for token in self._pending:
                self._matcher.consume(token)
            if self._matcher.is_complete:
                self._matcher = None
        self._pending.clear()
        begun = self._output.begun_call
        if self._matcher is None and begun is not None and begun.number > self._n_seen and begun.is_certain:
            self._n_seen = begun.number
            self._matcher = self._begin(begun.text[len(begun.syntax.trigger) :], begun.syntax)

    def _begin(self, text: str, syntax: Syntax) -> Matcher | None:
        try:
            matcher = self._grammars.rest(syntax).matcher(self._tokenizer)
            matcher.consume_text(text.encode())
        except ConstraintError:
            return None
        except (SubbyteError, ValueError) as error:
            _log.info("calls of tools are not constrained: %s", error)
            return None
        return None if matcher.is_complete else matcher
