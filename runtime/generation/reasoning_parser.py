"""Streaming parser of reasoning: `<think>` tags, and the text between and behind them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from subbyte.runtime import arguments
from subbyte.runtime.generation.stop_strings import StopStringMatcher
from subbyte.runtime.protocols import Tokenizer

_TAIL = 16  # tokens at the end of a prompt that may spell an open tag and the newlines after it


@dataclass(frozen=True, slots=True)
class Tags:
    """What a model writes before and after its reasoning. answer: what it writes around the answer behind that.

    empty: what stands between the tags of no reasoning; behind: between the close tag and the answer. tokens: where a
    tag is more than one token, those that may be control tokens.
    """

    open: str
    close: str
    answer: tuple[str, str] | None = None
    empty: str = "\n\n"
    behind: str = "\n\n"
    tokens: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """What a reply with reasoning begins with."""
        return self.open + "\n"

    @property
    def controls(self) -> tuple[str, ...]:
        """What the parser must be told of where it is control tokens, which have no text."""
        return self.tokens or (self.open, self.close)

    def known_to(self, source: str, tokenizer: Tokenizer) -> bool:
        """Whether a chat template writes them, or cuts them out of earlier answers."""
        return self.close in source or self.open in source

    def within(self, text: str) -> str | None:
        """The text behind the last open tag, if `text` ends inside of it; else None."""
        _, tag, behind = text.rpartition(self.open)
        return behind if tag and self.close not in behind else None

    def opened(self, prompt: Sequence[int], tokenizer: Tokenizer) -> str | None:
        """The white space behind the open tag that the prompt ends with; None if the reply does not begin inside."""
        behind = self.within(tokenizer.decode(prompt[-_TAIL:], special=True))
        return behind if behind is not None and not behind.strip() else None

    def parser(self, opened: str | None = None) -> "ReasoningParser":
        """A parser of one reply."""
        return ReasoningParser(self, opened)


KNOWN_TAGS = (
    Tags("<think>", "</think>"),  # Qwen3, DeepSeek-R1, GLM 4.5, Nemotron Nano, MiniMax M2, SmolLM3, EXAONE 4 and others
    Tags("<thought>", "</thought>"),  # EXAONE Deep
    Tags("[THINK]", "[/THINK]"),  # Magistral, Ministral 3
    Tags("<seed:think>", "</seed:think>"),  # Seed-OSS
    Tags("<|channel>thought", "<channel|>", empty="\n", behind="", tokens=("<|channel>", "<channel|>")),  # Gemma 4
)


def checked_budget(budget: int | None) -> int | None:
    """`budget`, tokens of reasoning; ValueError if it is no whole number from 0, or None for no limit."""
    return None if budget is None else arguments.whole("reasoning_budget", budget, 0, hint="None: no limit")


class ReasoningParser:
    """Splits a streamed reply into reasoning and answer; the tags are in neither.

    There is reasoning if the prompt has opened it, or if the reply begins with the open tag, white space aside; a tag
    further on is text like any other. Reasoning that is never closed is reasoning to the end. Newlines right behind
    either tag are dropped, as are tags around the answer; all else is kept. The work per character does not depend on
    the length of the text.
    opened: what the prompt has behind the open tag that the reply begins in; None if it does not begin in one.
    """

    def __init__(self, tags: Tags, opened: str | None = None) -> None:
        self._tags, self._close = tags, StopStringMatcher([tags.close])
        self._state: Literal["start", "reasoning", "answer"] = "start"
        self._inside, self._closed = opened is not None, False
        self._blank: list[str] = []  # at the start: white space, then what may become an open tag
        self._held = ""
        self._at_tag = True  # nothing but newlines since the last tag
        self._answer_tags = _AnswerTags(*tags.answer) if tags.answer else None  # until the answer's close tag
        self._empty, self._end = (
            not (opened or "").strip(),
            (opened or "")[-2:],
        )  # the reasoning so far: only white space; its last characters

    @property
    def thinking(self) -> bool:
        """Whether the next character belongs to the reasoning, as far as can be known."""
        return self._state == "reasoning" or (self._state == "start" and self._inside)

    @property
    def answering(self) -> bool:
        """Whether the answer has begun: all that follows belongs to it."""
        return self._state == "answer"

    def feed(self, text: str) -> tuple[str, str]:
        """The next pieces of reasoning and of the answer; what may be the beginning of a tag is held back."""
        if self._state == "start":
            text = self._begin(text)
        if self._state == "answer":
            return "", self._answer(text)
        self._empty, self._end = self._empty and not text.strip(), (self._end + text)[-2:]
        text, closed = self._close.feed(text)
        reasoning = self._without_newlines(text)
        if not closed:
            return reasoning, ""
        self._state, self._at_tag, self._closed = "answer", True, True
        return reasoning, self._answer(self._close.flush())

    def control(self, text: str) -> tuple[str, str]:
        """Takes a tag that is a control token; in the answer it is no text."""
        return ("", "") if self.answering else self.feed(text)

    def finish(self) -> tuple[str, str]:
        """What was held back, at the end of the reply."""
        text = "".join(self._blank) + self._held + self._close.flush()
        self._blank, self._held = [], ""
        if self.thinking:
            return self._without_newlines(text), ""
        return "", text + (self._answer_tags.flush() if self._answer_tags else "")

    def closing(self) -> str:
        """What to write now to end the reasoning, as models and templates write it."""
        tags = self._tags
        missing = len(tags.empty) - self._end.count("\n") if self._empty else int(not self._end.endswith("\n"))
        return "\n" * missing + tags.close + tags.behind

    def _begin(self, text: str) -> str:
        """Decide what the reply begins with; the text behind that, "" as long as it is open."""
        if not self._held:
            blank, text = text[: len(text) - len(text.lstrip())], text.lstrip()
            self._blank.append(blank)
        self._held += text
        tag = self._tags.open
        if len(self._held) < len(tag) and tag.startswith(self._held):
            return ""
        tagged = self._held.startswith(tag)
        text = self._held[len(tag) :] if tagged else "".join(self._blank) + self._held
        self._state = "reasoning" if tagged or self._inside else "answer"
        self._at_tag = self._state == "reasoning"
        self._blank, self._held = [], ""
        return text

    def _answer(self, text: str) -> str:
        text = self._without_newlines(text)
        return self._answer_tags.feed(text) if self._answer_tags and self._closed else text

    def _without_newlines(self, text: str) -> str:
        if self._at_tag:
            text = text.lstrip("\n")
            self._at_tag = not text
        return text


class _AnswerTags:
    """Leaves out the tags around an answer, with the newlines inside of them. An answer without them stays as it is."""

    def __init__(self, open: str, close: str) -> None:
        self._open, self._close = open, StopStringMatcher([close, "\n" + close])
        self._held = ""
        self._state: Literal["start", "inside", "text"] = "start"
        self._at_tag = True

    def feed(self, text: str) -> str:
        """What there is to show of the next piece."""
        if self._state == "start":
            self._held += text
            if len(self._held) < len(self._open) and self._open.startswith(self._held):
                return ""
            self._state = "inside" if self._held.startswith(self._open) else "text"
            text, self._held = self._held.removeprefix(self._open), ""
        if self._state == "text":
            return text
        if self._at_tag:
            text = text.lstrip("\n")
            self._at_tag = not text
        shown, closed = self._close.feed(text)
        if closed:
            self._state = "text"
            shown += self._close.flush()
        return shown

    def flush(self) -> str:
        """What was held back, at the end of the reply."""
        return self._held + self._close.flush()
