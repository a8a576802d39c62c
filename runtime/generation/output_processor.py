"""Generated tokens to events: detokenized, reasoning and calls of tools set apart, stop strings found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from subbyte.runtime.generation.channels import Channels
from subbyte.runtime.generation.events import TextDelta, ThinkingDelta
from subbyte.runtime.generation.options import Begun
from subbyte.runtime.generation.reasoning_parser import Tags
from subbyte.runtime.generation.stop_strings import StopStringMatcher
from subbyte.runtime.protocols import Tokenizer
from subbyte.runtime.tools.call import ToolCall

if TYPE_CHECKING:
    from subbyte.runtime.tools.parser import BegunCall, Piece, ToolUse

Delta: TypeAlias = TextDelta | ThinkingDelta | ToolCall
_MAX_CONTROLS = 0x800  # lone surrogates that there are


class OutputProcessor:
    """Detokenizes a stream of tokens, sets reasoning and calls of tools apart and ends at a stop string.

    Stop strings count in the answer's text alone: what a model writes while it reasons, or gives to a tool, should not
    end its reply.

    tokens: all of them. n_thinking: how many of those were spent on reasoning, its tags included. n_reasoned: how many
    came since its open tag, which is what a budget counts. stopped: whether a stop string has come.
    tool_calls: those that have come. opened: as for `ReasoningParser`. lead: text that is left out where the answer
    begins with it.

    A control token has no text, but a stop string may be one, or hold one: there it is a character that no text has.
    """

    def __init__(
        self, tokenizer: Tokenizer, stop: Iterable[str] = (), tags: Tags | Channels | None = None,
        opened: str | None = None, lead: str = "", tools: ToolUse | None = None,
    ) -> None:  # fmt: skip
        self.tokens: list[int] = []
        self.tool_calls: list[ToolCall] = []
        self.n_thinking = self.n_reasoned = 0
        self.stopped = False
        stops, self._stop_controls = _with_controls(tokenizer, tuple(stop))
        self._decoder, self._stops = tokenizer.stream(), StopStringMatcher(stops)
        self._parser = tags.parser(opened) if tags else None
        ids = {tokenizer.id(text): text for text in (tags.controls if tags else ())}
        shown = not isinstance(tags, Channels)  # a tag that is text is found in the text
        self._controls = {
            id: text for id, text in ids.items() if id is not None and not (shown and tokenizer.piece(id))
        }
        self._tools = tools.parser() if tools else None
        self._tool_marks = _control_tokens(tokenizer, tools.format.marks if tools else ())
        self._lead = lead
        self._shown_text = self._shown_thinking = (
            ""  # was shown before, though it may still become a stop string or tag
        )
        self._text: list[str] = []
        self._thinking: list[str] = []

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._text)

    @property
    def answer(self) -> str:
        """The answer so far, with what may still become a stop string."""
        return self.text + self._stops.held

    @property
    def answering(self) -> bool:
        """Whether the answer has begun: what comes next belongs to it."""
        return self._parser is None or self._parser.answering

    @property
    def thinking_now(self) -> bool:
        """Whether what comes next belongs to the reasoning, as far as can be known."""
        return self._parser is not None and self._parser.thinking

    @property
    def stop_string(self) -> str | None:
        """The stop string that has come."""
        return self._stops.found

    @property
    def begun_call(self) -> BegunCall | None:
        """What may become a call of a tool."""
        return None if self._tools is None else self._tools.begun

    @property
    def thinking(self) -> str:
        """The reasoning so far."""
        return "".join(self._thinking)

    def begin(self, begun: Begun) -> None:
        """Take the tokens that an answer was begun with, which are shown by now. ValueError: a stop string ends it."""
        for token in begun.tokens:
            self.add(token)
            if self.stopped:
                raise ValueError(f"the beginning of the answer has the stop string {self.stop_string!r} in it")
        self._shown_text = _behind(begun.text, self.text)
        self._shown_thinking = _behind(begun.thinking, self.thinking)

    def add(self, token: int) -> list[Delta]:
        """Take the next token; what there is to show of it."""
        self.tokens.append(token)
        text = self._decoder.feed(token)
        if token in self._tool_marks and (self._parser is None or not self._parser.thinking):
            text += self._decoder.finish() + self._tool_marks[token]
        if token in self._stop_controls:
            text += self._stop_controls[token]
        if self._parser is None:
            return self._answer(text)
        before = self._parser.thinking
        control = self._controls.get(token)
        if control is None:
            reasoning, answer = self._parser.feed(text)
        else:
            text = text.removesuffix(control) + self._decoder.finish()
            reasoning, answer = map("".join, zip(self._parser.feed(text), self._parser.control(control), strict=True))
        if before or self._parser.thinking:
            self.n_thinking = len(self.tokens)
        self.n_reasoned += before
        return self._reasoning(reasoning) + self._answer(answer)

    def finish(self, *, cut: bool) -> list[Delta]:
        """What was held back, at the end of the answer. cut: the model did not end it itself, and of a character that
        is not whole nothing is text; what the model leaves unfinished is U+FFFD."""
        if self.stopped:
            return []
        reasoning, answer = "", "" if cut else self._decoder.finish()
        if self._parser is not None:
            reasoning, answer = map("".join, zip(self._parser.feed(answer), self._parser.finish(), strict=True))
        deltas = self._reasoning(reasoning) + self._answer(answer)
        if self._tools is not None:
            deltas += self._pieces(self._tools.finish())
        return deltas if self.stopped else deltas + self._answer_delta(self._stops.flush())

    def closing(self, budget: int) -> str:
        """What the model must be made to write to end reasoning that has used up its budget; "" if it has not."""
        if self._parser is None or not self._parser.thinking or self.n_reasoned < budget:
            return ""
        return self._parser.closing()

    def _reasoning(self, text: str) -> list[Delta]:
        text = self._shown(text)
        if not text:
            return []
        self._thinking.append(text)
        text, self._shown_thinking = _without(text, self._shown_thinking)
        return [ThinkingDelta(text)] if text else []

    def _answer(self, text: str) -> list[Delta]:
        text, self._lead = _without(text, self._lead)
        return self._pieces([text] if self._tools is None else self._tools.feed(text))

    def _pieces(self, pieces: Iterable[Piece]) -> list[Delta]:
        """What there is to show of text and calls; nothing behind a stop string."""
        deltas: list[Delta] = []
        for piece in pieces:
            if self.stopped:
                break
            if isinstance(piece, str):
                text, self.stopped = self._stops.feed(piece)
                deltas += self._answer_delta(text)
            else:
                deltas += [*self._answer_delta(self._stops.flush()), piece]
                self.tool_calls.append(piece)
        return deltas

    def _answer_delta(self, text: str) -> list[Delta]:
        text = self._shown(text)
        if not text:
            return []
        self._text.append(text)
        text, self._shown_text = _without(text, self._shown_text)
        return [TextDelta(text)] if text else []

    def _shown(self, text: str) -> str:
        for character in self._stop_controls.values():
            text = text.replace(character, "")
        return text


def _behind(text: str, start: str) -> str:
    return text[len(start) :] if text.startswith(start) else ""


def _without(text: str, start: str) -> tuple[str, str]:
    """The next text behind `start`, which the whole may begin with, and what of `start` may still come."""
    same = next((i for i, (a, b) in enumerate(zip(text, start, strict=False)) if a != b), min(len(text), len(start)))
    return text[same:], start[same:] if same == len(text) else ""


def _control_tokens(tokenizer: Tokenizer, marks: Iterable[str]) -> dict[int, str]:
    """The control tokens in marks, by id: they have no text, but the marks do."""
    ids = {id for mark in marks for id in tokenizer.encode(mark, special=True)}
    return {id: tokenizer.text(id) for id in ids if not tokenizer.piece(id)}


def _with_controls(tokenizer: Tokenizer, stop: Sequence[str]) -> tuple[list[str], dict[int, str]]:
    """Stop strings with a character for each control token in them, and that character by the token's id.

    The characters are lone surrogates, which no decoded text has.
    """
    characters: dict[int, str] = {}
    stops = []
    for string in stop:
        for id in tokenizer.encode(string, special=True):
            if not tokenizer.piece(id) and (text := tokenizer.text(id)) in string and len(characters) < _MAX_CONTROLS:
                character = characters.setdefault(id, chr(0xD800 + len(characters)))
                string = string.replace(text, character)
        stops.append(string)
    return stops, characters
