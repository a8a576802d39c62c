"""The logits processor of constrained output: the answer is what a grammar allows, the reasoning before it is free."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ConstraintError
from subbyte.kernels import mask_logits
from subbyte.runtime.generation.channels import Channels
from subbyte.runtime.generation.logits_processors import LogitsProcessor
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.output_processor import OutputProcessor
from subbyte.runtime.generation.reasoning_parser import Tags
from subbyte.runtime.grammar.matcher import Matcher
from subbyte.runtime.protocols import Tokenizer

_TAIL = 16  # tokens at the end of a prompt that may spell a close tag
_UNFINISHED = 3  # tokens that may hold the bytes of a character that is not whole


class ConstraintProcessor(LogitsProcessor):
    """Leaves the tokens that a grammar allows, from where the answer begins; then nothing but its end.

    It follows what `output` makes of the tokens, so that the grammar holds for the text of the reply: reasoning is
    free, but it must be closed before the model may end its turn; `BeforeAnswer` says what comes around it. Text that
    an answer was begun with is part of the answer.
    banned: tokens that other processors make impossible. Raises ValueError where all that could end the answer is; its
    methods raise ConstraintError where nothing is left to choose from.
    """

    def __init__(
        self, matcher: Matcher, options: GenerationOptions, output: OutputProcessor, tokenizer: Tokenizer,
        prompt: Sequence[int], banned: Collection[int],
    ) -> None:  # fmt: skip
        ends = tokenizer.eog.difference(banned)
        if not ends:
            raise ValueError("all end-of-generation tokens are banned, but a constraint ends the answer with one")
        self._matcher, self._output, self._tokenizer, self._banned = matcher, output, tokenizer, frozenset(banned)
        self._ends = sorted(tokenizer.eog)
        self._end = tokenizer.eos if tokenizer.eos in ends else min(ends)
        self._before = BeforeAnswer(options, output, tokenizer, prompt, matcher)
        self._begun = False  # whether the matcher has taken the answer so far, but for what is pending
        self._pending: list[int] = []
        self._n_taken = 0

    def apply(self, logits: NDArray[np.float32], context: Sequence[int]) -> None:
        """See `LogitsProcessor`."""
        self._catch_up()
        if self._reasons:
            logits[self._ends] = -np.inf
        elif not mask_logits(logits, self._matcher.mask() if self._begun else self._before.mask()):
            raise ConstraintError("biases, banned texts or the model's suppressed tokens ban all that may come next")

    def forced(self) -> Sequence[int]:
        """See `LogitsProcessor`."""
        self._catch_up()
        if self._reasons:
            return ()
        if not self._begun:
            tokens = self._before.forced()
        elif self._matcher.is_complete:
            tokens = (self._end,)
        else:
            tokens = self._matcher.forced()
        return () if self._banned.intersection(tokens) else tokens

    def accept(self, token: int) -> None:
        """See `LogitsProcessor`. Raises ValueError for the beginning of an answer that the grammar does not allow."""
        self._n_taken += 1
        if self._begun:
            self._pending.append(token)
        elif self._n_taken == len(self._output.tokens):  # the last of those that the answer was begun with
            try:
                self._catch_up()
            except ConstraintError as error:
                raise ValueError(f"the beginning of the answer does not fit: {error}") from None

    @property
    def _reasons(self) -> bool:
        return not self._begun and self._output.thinking_now

    def _catch_up(self) -> None:
        """Takes what has come since the last time."""
        for token in self._pending:
            self._matcher.consume(token)
        self._pending.clear()
        if not self._begun and not self._output.thinking_now and self._before.is_over:
            self._begin()
            self._begun = True

    def _begin(self) -> None:
        """Takes what there is of the answer by now."""
        tokens = self._output.tokens
        if self._output.answering:
            self._matcher.consume_text(self._output.answer.encode() + _unfinished(tokens, self._tokenizer))
        else:  # white space, or what the parser takes for the possible beginning of a tag
            for token in tokens[self._before.n_lead :]:
                self._matcher.consume(token)


class BeforeAnswer:
    """What comes before the text of an answer, where a model under a constraint is led to it.

    - White space that the template has in front of answers comes first.
    - A model that may open its reasoning itself chooses between its tag and the beginning of the answer; one that
      writes in channels between the headers of reasoning and of the final answer.
    - Behind reasoning come the newlines, or the header of the final channel, that the model was trained to write there.
    """

    def __init__(
        self, options: GenerationOptions, output: OutputProcessor, tokenizer: Tokenizer, prompt: Sequence[int],
        matcher: Matcher,
    ) -> None:  # fmt: skip
        self._output, self._tokenizer, self._tags, self._beginning = output, tokenizer, options.tags, matcher.mask()
        self._lead = tokenizer.encode(options.lead, after=prompt[-1]) if options.lead else []
        self._openings: list[list[int]] = []
        tags = options.tags
        if isinstance(tags, Channels):
            self._openings = [self._encode(tags.open), self._encode(tags.answer)]
        elif tags is not None and tags.close not in tokenizer.decode(prompt[-_TAIL:], special=True):
            opening = self._encode(tags.open)
            if len(opening) == 1 or not self._may_begin_with(opening[0]):
                self._openings = [opening]

    @property
    def n_lead(self) -> int:
        """How many tokens of white space are in front of the answer."""
        return len(self._lead)

    @property
    def is_over(self) -> bool:
        """Whether the next token belongs to the answer, or some of the answer is there."""
        return not self._choices()

    def forced(self) -> Sequence[int]:
        """The token that must come next, if one must."""
        firsts = {tokens[0] for tokens in self._choices()}
        return () if self._may_begin or len(firsts) > 1 else tuple(firsts)

    def mask(self) -> NDArray[np.uint32]:
        """Which tokens may come next, as `Matcher.mask`."""
        words = self._beginning.copy() if self._may_begin else np.zeros_like(self._beginning)
        for tokens in self._choices():
            words[tokens[0] // 32] |= np.uint32(1 << tokens[0] % 32)
        return words

    @property
    def _may_begin(self) -> bool:
        """Whether the answer may begin with the next token, whatever else may."""
        return len(self._output.tokens) == len(self._lead) and not isinstance(self._tags, Channels)

    def _choices(self) -> list[list[int]]:
        """The sequences of tokens one of which comes next, unless the answer begins; each without what has come."""
        came = self._output.tokens
        if len(came) < len(self._lead) and came == self._lead[: len(came)]:
            return [self._lead[len(came) :]]
        if isinstance(self._tags, Channels):
            return [] if self._output.answering else self._headers(self._tags, came)
        if self._tags is not None and self._output.answering and came[len(self._lead) :]:
            return self._newlines(self._tags, came)
        return _rest(self._openings, came[len(self._lead) :])

    def _headers(self, tags: Channels, came: Sequence[int]) -> list[list[int]]:
        ends = self._tokenizer.id(tags.ends)
        n_closed = next((i + 1 for i in reversed(range(len(came))) if came[i] == ends), 0)
        openings = [self._encode(tags.close.removeprefix(tags.ends))] if n_closed else self._openings
        return _rest(openings, came[n_closed:])

    def _newlines(self, tags: Tags, came: Sequence[int]) -> list[list[int]]:
        """The newlines between a close tag and the answer that are still to come."""
        if self._output.answer or not self._output.n_thinking:
            return []
        missing = tags.behind.count("\n") - _trailing_newlines(came, self._tokenizer)
        tokens = self._encode("\n" * missing) if missing > 0 else []
        return [tokens] if tokens and all(self._tokenizer.piece(id).strip(b"\n") == b"" for id in tokens) else []

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, special=True)

    def _may_begin_with(self, token: int) -> bool:
        return bool(self._beginning[token // 32] >> token % 32 & 1)


def _rest(openings: Sequence[list[int]], came: Sequence[int]) -> list[list[int]]:
    """What is to come of those openings that begin with what has come."""
    n = len(came)
    return [tokens[n:] for tokens in openings if len(tokens) > n and tokens[:n] == list(came)]


def _trailing_newlines(tokens: Sequence[int], tokenizer: Tokenizer) -> int:
    n = 0
    for token in reversed(tokens):
        piece = tokenizer.piece(token)
        n += len(piece) - len(piece.rstrip(b"\n"))
        if piece.strip(b"\n") or not piece:
            break
    return n


def _unfinished(tokens: Sequence[int], tokenizer: Tokenizer) -> bytes:
    """The bytes at the end that are the beginning of a character."""
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    decoder.decode(b"".join(map(tokenizer.piece, tokens[-_UNFINISHED:])))
    return decoder.getstate()[0]
