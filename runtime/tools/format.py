"""A model's format of tool calls: one syntax or several, and what a call begins with in a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from subbyte.runtime.tools.json_calls import ObjectCalls
from subbyte.runtime.tools.literal_calls import PythonCalls
from subbyte.runtime.tools.reader import Reader, Reading
from subbyte.runtime.tools.tool import Tool

_MAX_BLANK = 64  # characters: more is not held back, nor dropped


class Syntax(Protocol):
    """One way to write calls."""

    @property
    def open(self) -> str:
        """What stands before each call."""
        ...

    @property
    def trigger(self) -> str:
        """What a call begins with, wherever it stands; "" for a syntax with `starts`."""
        ...

    @property
    def starts(self) -> tuple[str, ...]:
        """What a call begins with at the beginning of an answer, or behind another call, and only there."""
        ...

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that may be, or hold, control tokens."""
        ...

    def is_certain(self, text: str) -> bool:
        """Whether a text without a trigger is meant as a call."""
        ...

    def read(self, reader: Reader, tools: Mapping[str, Tool]) -> Reading[None]:
        """Reads the calls that a trigger or start begins; Mismatch if it begins none."""
        ...


class Place(NamedTuple):
    """Where in a text a call may begin, and how it would be written."""

    at: int
    syntax: Syntax


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """How a model writes calls.

    writer: how calls of the history are put into an answer's text, where the chat template shows none itself.
    in_system: the template takes tools as a key of the system message, as JSON text, not as a variable.
    result_role: the role under which it shows results. in_channels: the name of the tool is in a header, which is not
    part of the answer's text.
    """

    syntaxes: Sequence[Syntax]
    writer: ObjectCalls | PythonCalls | None = None
    in_system: bool = False
    result_role: str = "tool"
    in_channels: bool = False

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that may be, or hold, control tokens."""
        return tuple(mark for syntax in self.syntaxes for mark in syntax.marks if mark)

    def find(self, text: str, begin: int, *, at_start: bool) -> Place | None:
        """The first place from `begin` on where a call may begin. at_start: starts count, too."""
        places = [Place(text.find(s.trigger, begin), s) for s in self.syntaxes if s.trigger]
        if at_start:
            blank = len(text) - len(text.lstrip())
            places += [Place(blank, s) for s in self.syntaxes if s.starts and text.startswith(s.starts, blank)]
        return min((place for place in places if place.at >= 0), key=lambda place: place.at, default=None)

    def held(self, text: str) -> int:
        """How many characters at the end of a text may be the beginning of a call, with white space before it."""
        n = max((_overlap(text, s.trigger) for s in self.syntaxes), default=0)
        return n + n_blank(text[: len(text) - n])


def n_blank(text: str) -> int:
    """How many characters of white space at the end of a text would be dropped before a call."""
    return min(len(text) - len(text.rstrip()), _MAX_BLANK)


def _overlap(text: str, trigger: str) -> int:
    """How many characters of the trigger a text ends with."""
    longest = min(len(trigger) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(trigger[:n])), 0)
