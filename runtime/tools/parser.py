"""Calls in a streamed answer: text in, text and calls out, whatever the pieces in which it comes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from subbyte.runtime.tools.call import ToolCall, call_id
from subbyte.runtime.tools.call_grammar import CallGrammars
from subbyte.runtime.tools.format import Place, Syntax, ToolFormat, n_blank
from subbyte.runtime.tools.reader import Mismatch, Reader, Reading
from subbyte.runtime.tools.tool import Tool
from subbyte.runtime.tools.values import well_formed

Piece: TypeAlias = "str | ToolCall"


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The tools that an answer may call, and the model's format. n_before: calls in the conversation before it.

    grammars: what calls may be, once they have begun; None: anything.
    """

    format: ToolFormat
    tools: Mapping[str, Tool]
    n_before: int = 0
    grammars: CallGrammars | None = None

    def parser(self) -> "ToolParser":
        """A parser of one answer."""
        return ToolParser(self.format, self.tools, self.n_before)


class BegunCall(NamedTuple):
    """What may become a call: its number in the answer, how it would be written, and its text so far."""

    number: int
    syntax: Syntax
    text: str

    @property
    def is_certain(self) -> bool:
        """Whether it is meant as a call: text that no mark begins may be something else."""
        return bool(self.syntax.trigger) or self.syntax.is_certain(self.text)


class ToolParser:
    """Splits an answer into text and calls of known tools.

    What may still become a call is held back. What turns out to be none is text as it came, and the search goes on
    where it failed: every character is read once. White space next to a call is dropped, since templates write their
    own there. What looks like a call, but of a tool that is not known, is text.
    n_before: calls in the conversation before this answer; ids go on from there.
    """

    def __init__(self, format: ToolFormat, tools: Mapping[str, Tool], n_before: int = 0) -> None:
        self._format, self._tools, self._n_calls = format, tools, n_before
        self._text = ""  # what was not given out, but for what the reader has
        self._searched = 0  # how much of that holds no beginning of a call
        self._call: tuple[Reader, Reading[None]] | None = None  # one that may have begun behind the text
        self._syntax: Syntax | None = None  # of that one
        self._n_begun = 0
        self._at_start = True  # only white space has come since the beginning, or since a call
        self._behind_call = False

    @property
    def begun(self) -> BegunCall | None:
        """What may become a call; None while there is nothing of that kind."""
        if self._call is None or self._syntax is None:
            return None
        return BegunCall(self._n_begun, self._syntax, self._call[0].text)

    def feed(self, text: str) -> list[Piece]:
        """What there is to show after the next text, in order."""
        if self._call is not None:
            self._call[0].text += text
        else:
            self._text += text
        pieces: list[Piece] = []
        while self._step(pieces):
            pass
        return pieces

    def finish(self) -> list[Piece]:
        """What was held back, at the end of the answer."""
        pieces: list[Piece] = []
        while self._call is not None:
            self._call[0].ended = True
            while self._step(pieces):
                pass
        self._give(len(self._text), pieces)
        return pieces

    def _step(self, pieces: list[Piece]) -> bool:
        """Reads on in a call, or looks for one; whether there may be more to do with what has come."""
        if self._call is not None:
            return self._read(*self._call, pieces)
        if self._behind_call:
            n = len(self._text) - len(self._text.lstrip())
            self._text, self._searched = self._text[n:], max(self._searched - n, 0)
        place = self._format.find(self._text, self._searched, at_start=self._at_start)
        if place is None:
            self._give(len(self._text) - self._format.held(self._text), pieces)
            return False
        self._begin(place, pieces)
        return True

    def _begin(self, place: Place, pieces: list[Piece]) -> None:
        reader = Reader(self._text[place.at :])
        self._text = self._text[: place.at]
        self._give(place.at - n_blank(self._text), pieces)
        self._call, self._syntax = (reader, place.syntax.read(reader, self._tools)), place.syntax
        self._n_begun += 1

    def _read(self, reader: Reader, reading: Reading[None], pieces: list[Piece]) -> bool:
        try:
            found = next(reading)
        except StopIteration:
            reader.take()
            self._end(reader)
            return True
        except Mismatch:
            self._end(reader)
            return True
        if found is None:
            return False
        reader.take()
        self._text, self._at_start, self._behind_call = "", True, True
        pieces.append(ToolCall(found.id or call_id(self._n_calls), found.name, well_formed(found.arguments)))
        self._n_calls += 1
        return True

    def _end(self, reader: Reader) -> None:
        """Goes back to text: all that the reader has behind the calls in it. What it read of that is no call."""
        self._call = None
        self._searched = len(self._text) + reader.at - reader.taken
        if reader.text[reader.taken : reader.at].strip() or not reader.taken:
            self._at_start = False
        self._text += reader.text[reader.taken :]

    def _give(self, n: int, pieces: list[Piece]) -> None:
        text, self._text = self._text[:n], self._text[n:]
        self._searched = max(self._searched - n, 0)
        if text:
            self._at_start, self._behind_call = self._at_start and text.isspace(), False
            pieces.append(text)
