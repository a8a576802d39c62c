"""Generated tokens to events: detokenized, reasoning set apart, stop strings found."""

from collections.abc import Iterable
from typing import TypeAlias

from subbyte.runtime.generation.events import TextDelta, ThinkingDelta
from subbyte.runtime.generation.reasoning_parser import ReasoningParser, Tags
from subbyte.runtime.generation.stop_strings import StopStringMatcher
from subbyte.runtime.protocols import Tokenizer

Delta: TypeAlias = TextDelta | ThinkingDelta


class OutputProcessor:
    """Detokenizes a stream of tokens, sets reasoning apart and ends at a stop string.

    Stop strings count in the answer alone: what a model writes while it reasons should not end its reply.

    tokens: all of them. n_thinking: how many of those were spent on reasoning, its tags included. n_reasoned: how many
    came since its open tag, which is what a budget counts. stopped: whether a stop string has come.
    opened: as for `ReasoningParser`. lead: text that is left out where the answer begins with it.
    """

    def __init__(
        self, tokenizer: Tokenizer, stop: Iterable[str] = (), tags: Tags | None = None, opened: str | None = None,
        lead: str = "",
    ) -> None:  # fmt: skip
        self.tokens: list[int] = []
        self.n_thinking = self.n_reasoned = 0
        self.stopped = False
        self._decoder, self._stops = tokenizer.stream(), StopStringMatcher(stop)
        self._parser = ReasoningParser(tags, opened) if tags else None
        ids = {tokenizer.id(tag): tag for tag in ((tags.open, tags.close) if tags else ())}
        self._hidden_tags = {id: tag for id, tag in ids.items() if id is not None and not tokenizer.piece(id)}
        self._lead = lead
        self._text: list[str] = []
        self._thinking: list[str] = []

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._text)

    @property
    def stop_string(self) -> str | None:
        """The stop string that has come."""
        return self._stops.found

    @property
    def thinking(self) -> str:
        """The reasoning so far."""
        return "".join(self._thinking)

    def add(self, token: int) -> list[Delta]:
        """Take the next token; what there is to show of it."""
        self.tokens.append(token)
        text = self._decoder.feed(token)
        if self._parser is None:
            return self._answer(text)
        if token in self._hidden_tags and not self._parser.answering:  # a control token, which has no text
            text += self._decoder.finish() + self._hidden_tags[token]
        before = self._parser.thinking
        reasoning, answer = self._parser.feed(text)
        if before or self._parser.thinking:
            self.n_thinking = len(self.tokens)
        self.n_reasoned += before
        return self._reasoning(reasoning) + self._answer(answer)

    def finish(self) -> list[Delta]:
        """What was held back, at the end of the answer."""
        if self.stopped:
            return []
        reasoning, answer = "", self._decoder.finish()
        if self._parser is not None:
            reasoning, answer = map("".join, zip(self._parser.feed(answer), self._parser.finish(), strict=True))
        deltas = self._reasoning(reasoning) + self._answer(answer)
        return deltas if self.stopped else deltas + self._answer_delta(self._stops.flush())

    def closing(self, budget: int) -> str:
        """What the model must be made to write to end reasoning that has used up its budget; "" if it has not."""
        if self._parser is None or not self._parser.thinking or self.n_reasoned < budget:
            return ""
        return self._parser.closing()

    def _reasoning(self, text: str) -> list[Delta]:
        if not text:
            return []
        self._thinking.append(text)
        return [ThinkingDelta(text)]

    def _answer(self, text: str) -> list[Delta]:
        text, self.stopped = self._stops.feed(self._without_lead(text))
        return self._answer_delta(text)

    def _without_lead(self, text: str) -> str:
        """The next text of the answer, behind what it may begin with."""
        while text and text[0] == self._lead[:1]:
            text, self._lead = text[1:], self._lead[1:]
        if text:
            self._lead = ""
        return text

    def _answer_delta(self, text: str) -> list[Delta]:
        if not text:
            return []
        self._text.append(text)
        return [TextDelta(text)]
