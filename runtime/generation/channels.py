"""Streaming parser of replies in channels: messages with headers, one for the reasoning, the last one the answer.

gpt-oss's harmony format: https://github.com/openai/harmony, docs/format.md. Solar-Open has other names for the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from subbyte.runtime.protocols import Tokenizer

_Kind: TypeAlias = Literal["reasoning", "answer"]
_TAIL = 16  # tokens at the end of a prompt that may spell a header
_RECIPIENT = " to="


@dataclass(frozen=True, slots=True)
class Channels:
    """How a model writes a reply: control tokens around messages, each of them a header and a body.

    start: begins a message, ends: what ends one. bodies: each ends a header. others: may be in a header.
    open: the whole header of reasoning; close: what ends reasoning and begins the answer. tools: in headers of calls.
    """

    start: str
    ends: str
    bodies: tuple[str, ...]
    others: tuple[str, ...]
    open: str
    close: str
    tools: str = _RECIPIENT

    @property
    def head(self) -> str:
        """What a reply with reasoning begins with."""
        return self.open

    @property
    def controls(self) -> tuple[str, ...]:
        """The control tokens that the parser must be told of."""
        return (self.start, self.ends, *self.bodies, *self.others)

    @property
    def answer(self) -> str:
        """The header of an answer that no reasoning comes before."""
        return self.close.rpartition("assistant")[2]

    def known_to(self, source: str, tokenizer: Tokenizer) -> bool:
        """Whether a chat template writes so, and the vocabulary has the tokens for it."""
        return self.open in source and all(tokenizer.id(text) is not None for text in self.controls)

    def within(self, text: str) -> str | None:
        """The text behind the header of reasoning, if `text` ends inside of that; else None."""
        _, header, behind = text.rpartition(self.open)
        return behind if header and self.ends not in behind else None

    def opened(self, prompt: Sequence[int], tokenizer: Tokenizer) -> str | None:
        """The white space behind the header of reasoning that the prompt ends with; None if the reply is not inside."""
        behind = self.within(tokenizer.decode(prompt[-_TAIL:], special=True))
        return behind if behind is not None and not behind.strip() else None

    def parser(self, opened: str | None = None) -> "ChannelParser":
        """A parser of one reply. opened: as for `ReasoningParser`."""
        return ChannelParser(self, opened)


HARMONY = Channels(
    start="<|start|>", ends="<|end|>", bodies=("<|message|>",), others=("<|channel|>", "<|constrain|>"),
    open="<|channel|>analysis<|message|>", close="<|end|><|start|>assistant<|channel|>final<|message|>",
)  # fmt: skip
SOLAR = Channels(
    start="<|begin|>", ends="<|end|>", bodies=("<|think|>", "<|content|>", "<|tool_calls|>"), others=(),
    open="<|think|>", close="<|end|><|begin|>assistant<|content|>", tools="<|tool_calls|>",
)  # fmt: skip


class ChannelParser:
    """Splits a streamed reply into reasoning and answer; headers are in neither.

    The answer is every message that is no reasoning: the final one, a preamble before it, and the call of a function,
    with who is called in front. Messages of one kind are a paragraph apart. Text without a header is the answer.
    Control tokens are told by `control`, never found in text: a model that writes about its format is not misread.
    opened: not None where the reply begins inside the reasoning.
    """

    def __init__(self, channels: Channels, opened: str | None = None) -> None:
        self._channels = channels
        self._header: str | None = None if opened is not None else ""  # None: in a body
        self._kind: _Kind = "reasoning" if opened is not None else "answer"
        self._first = True  # no control token has come
        self._written: set[_Kind] = set()

    @property
    def thinking(self) -> bool:
        """Whether the next character belongs to the reasoning, as far as can be known."""
        return self._header is None and self._kind == "reasoning"

    @property
    def answering(self) -> bool:
        """Whether the next character belongs to the answer."""
        return self._header is None and self._kind == "answer"

    def feed(self, text: str) -> tuple[str, str]:
        """The next pieces of reasoning and of the answer; a header is held back."""
        if self._header is None:
            return self._of_kind(text)
        self._header += text
        if not self._first or _RECIPIENT.startswith(self._header) or self._header.startswith(_RECIPIENT):
            return "", ""
        return self._begin("")

    def control(self, text: str) -> tuple[str, str]:
        """Takes a control token by its text; what there is to show of it: the one who is called, or a new paragraph."""
        self._first = False
        if text in (self._channels.start, self._channels.ends):
            self._header = ""
        elif self._header is not None and text in self._channels.bodies:
            return self._begin(text)
        elif self._header is not None:
            self._header += text
        return "", ""

    def finish(self) -> tuple[str, str]:
        """What was held back, at the end of the reply."""
        return self._begin("") if self._first and self._header else ("", "")

    def closing(self) -> str:
        """What to write now to end the reasoning and begin the answer."""
        return self._channels.close

    def _begin(self, body: str) -> tuple[str, str]:
        """Begins the body of a message; body: the control token that ends its header, "" for text without a header."""
        header, self._header = (self._header or "") + body, None
        if not body:
            return self._of_kind(header)
        self._kind = "reasoning" if self._channels.open in header and self._channels.tools not in header else "answer"
        _, recipient, name = header.partition(_RECIPIENT)
        called = f"{recipient.strip()}{name.split('<')[0].strip()} " if recipient else ""
        if self._kind in self._written:
            called = "\n\n" + called
        return self._of_kind(called) if called else ("", "")

    def _of_kind(self, text: str) -> tuple[str, str]:
        if text:
            self._written.add(self._kind)
        return (text, "") if self._kind == "reasoning" else ("", text)
