"""The tokens of an answer as they come, turned into what is shown."""

from collections.abc import Iterable
from typing import TypeAlias

from subbyte.runtime.chat.reasoning import Tags
from subbyte.runtime.generation.events import TextDelta, ThinkingDelta
from subbyte.runtime.generation.reasoning_parser import Splitter
from subbyte.runtime.generation.stop_strings import StopFinder
from subbyte.runtime.protocols import Tokenizer

Delta: TypeAlias = TextDelta | ThinkingDelta


class Output:
    """Decodes tokens, sets reasoning apart and ends at a stop string. Stop strings count in the answer alone: what a
    model says while it reasons should not end its reply.

    tokens: all of them. n_thinking: how many of those were spent on reasoning, its tags included. n_reasoned: how many
    came since its open tag, which is what a budget counts. stopped: whether a stop string has come.
    opened: as for `Splitter`.
    """

    def __init__(
        self, tokenizer: Tokenizer, stop: Iterable[str] = (), tags: Tags | None = None, opened: str | None = None
    ) -> None:
        self.tokens: list[int] = []
        self.n_thinking = self.n_reasoned = 0
        self.stopped = False
        self._decoder, self._stops = tokenizer.stream(), StopFinder(stop)
        self._splitter = Splitter(tags, opened) if tags else None
        ids = {tokenizer.id(tag): tag for tag in ((tags.open, tags.close) if tags else ())}
        self._hidden_tags = {id: tag for id, tag in ids.items() if id is not None and not tokenizer.piece(id)}
        self._text: list[str] = []
        self._thinking: list[str] = []

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._text)

    @property
    def thinking(self) -> str:
        """The reasoning so far."""
        return "".join(self._thinking)

    def add(self, token: int) -> list[Delta]:
        """Take the next token; what there is to show of it."""
        self.tokens.append(token)
        text = self._decoder.feed(token)
        if self._splitter is None:
            return self._answer(text)
        if token in self._hidden_tags and not self._splitter.answering:  # a control token, which has no text
            text += self._decoder.finish() + self._hidden_tags[token]
        before = self._splitter.thinking
        reasoning, answer = self._splitter.feed(text)
        if before or self._splitter.thinking:
            self.n_thinking = len(self.tokens)
        self.n_reasoned += before
        return self._reasoning(reasoning) + self._answer(answer)

    def finish(self) -> list[Delta]:
        """What was held back, at the end of the answer."""
        if self.stopped:
            return []
        reasoning, answer = "", self._decoder.finish()
        if self._splitter is not None:
            reasoning, answer = map("".join, zip(self._splitter.feed(answer), self._splitter.finish(), strict=True))
        deltas = self._reasoning(reasoning) + self._answer(answer)
        return deltas if self.stopped else deltas + self._answer_delta(self._stops.flush())

    def closing(self, budget: int | None) -> str:
        """What the model must be made to write to end reasoning that has used up its budget; "" if it has not."""
        if budget is None or self._splitter is None or not self._splitter.thinking or self.n_reasoned < budget:
            return ""
        return self._splitter.closing()

    def _reasoning(self, text: str) -> list[Delta]:
        if not text:
            return []
        self._thinking.append(text)
        return [ThinkingDelta(text)]

    def _answer(self, text: str) -> list[Delta]:
        text, self.stopped = self._stops.feed(text)
        return self._answer_delta(text)

    def _answer_delta(self, text: str) -> list[Delta]:
        if not text:
            return []
        self._text.append(text)
        return [TextDelta(text)]
