"""The text of a call while it comes: steps of reading that wait where more text is needed.

Formats are read by generators: each `yield None` waits for more text, each `yield Found(…)` hands over a call that is
whole. So a format is read by straight code, and each character once, however the text is cut.
"""

import re
from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")

MAX_DEPTH = 64  # of brackets within each other
_OPEN, _CLOSE = "([{", ")]}"
_ORDINARY = re.compile(r"""[^\\"'<|(){}\[\]]*""")  # no bracket, nor what a quote begins with
_NAME = re.compile(r"[\w.:-]*", re.ASCII)


class Found(NamedTuple):
    """A call as it was read; id: None where the model wrote none."""

    name: str
    arguments: dict[str, Any]
    id: str | None = None


Reading: TypeAlias = Generator[Found | None, None, T]


class Mismatch(Exception):
    """The text is no call of this format."""


class Reader:
    """A text that grows, and a place in it. text: all of it. at: what is before was read. ended: no more comes.

    taken: what is before belongs to calls that were handed over.
    """

    def __init__(self, text: str) -> None:
        self.text, self.at, self.taken, self.ended = text, 0, 0, False

    def take(self) -> None:
        """Counts what was read as part of the calls."""
        self.taken = self.at

    def peek(self) -> Reading[str]:
        """The next character."""
        while self.at == len(self.text):
            if self.ended:
                raise Mismatch
            yield None
        return self.text[self.at]

    def spaces(self) -> Reading[None]:
        """Passes over white space, if more text comes."""
        while True:
            rest = self.text[self.at :]
            self.at += len(rest) - len(rest.lstrip())
            if self.at < len(self.text) or self.ended:
                return
            yield None

    def follows(self, literal: str) -> Reading[bool]:
        """Whether these characters come next; they are not read."""
        while True:
            ahead = self.text[self.at : self.at + len(literal)]
            if len(ahead) == len(literal) or self.ended or not literal.startswith(ahead):
                return ahead == literal
            yield None

    def skip(self, literal: str) -> Reading[bool]:
        """Reads these characters if they come next."""
        found = yield from self.follows(literal)
        self.at += len(literal) if found else 0
        return found

    def mark(self, mark: str) -> Reading[None]:
        """Reads a mark, with whatever white space before and in it; Mismatch if something else comes."""
        for part in mark.split():
            yield from self.spaces()
            if not (yield from self.skip(part)):
                raise Mismatch

    def name(self) -> Reading[str]:
        """A name: letters, digits and `_.:-`."""
        start = self.at
        while True:
            self.at = len(_NAME.match(self.text, self.at)[0]) + self.at  # type: ignore[index]  # it always matches
            if self.at < len(self.text):
                break
            if self.ended:
                raise Mismatch
            yield None
        if self.at == start:
            raise Mismatch
        return self.text[start : self.at]

    def until(self, literal: str) -> Reading[str]:
        """The text before these characters, which are read, too."""
        start = searched = self.at
        while (found := self.text.find(literal, searched)) < 0:
            if self.ended:
                raise Mismatch
            searched = max(start, len(self.text) - len(literal) + 1)
            yield None
        self.at = found + len(literal)
        return self.text[start:found]

    def balanced(self, quotes: tuple[str, ...], *, escapes: bool = True) -> Reading[str]:
        """The text from a bracket, which must come next, to its partner. Brackets between quotes do not count.

        escapes: a backslash takes the next character its meaning between quotes.
        """
        start, depth, quote = self.at, 0, ""
        while True:
            if depth:
                self.at = len(_ORDINARY.match(self.text, self.at)[0]) + self.at  # type: ignore[index]
            character = yield from self.peek()
            if quote and escapes and character == "\\":
                self.at += 1
                yield from self.peek()
                self.at += 1
            elif quote:
                if (yield from self.skip(quote)):
                    quote = ""
                else:
                    self.at += 1
            elif depth and (opened := (yield from self._quote(quotes))):
                quote = opened
            else:
                depth += (character in _OPEN) - (character in _CLOSE)
                if not 0 <= depth <= MAX_DEPTH or (self.at == start and not depth):
                    raise Mismatch
                self.at += 1
                if not depth:
                    return self.text[start : self.at]

    def _quote(self, quotes: tuple[str, ...]) -> Reading[str]:
        for quote in quotes:
            if (yield from self.skip(quote)):
                return quote
        return ""
