"""Probabilities of tokens as colours, or as brackets where there are none."""

import os
from collections.abc import Iterable
from typing import NamedTuple, TextIO

from subbyte.cli.terminal.console import encodable, takes_escapes
from subbyte.cli.tokens.scores import Piece
from subbyte.runtime.text import spelt_out


class Level(NamedTuple):
    """How surprising a token is. least: its probability from there on. style: SGR parameters; marks: without colour.

    The colours are of the terminal's own sixteen, which it shows fit for its background, and none of them stands alone:
    each level down has one sign more.
    """

    least: float
    name: str
    style: str
    marks: tuple[str, str]


LEVELS = (
    Level(0.5, "50 % or more", "", ("", "")),
    Level(0.2, "20 to 50 %", "36", ("[", "]")),  # cyan
    Level(0.05, "5 to 20 %", "35;4", ("[[", "]]")),  # magenta, underlined
    Level(0.0, "under 5 %", "31;1;4", ("[[[", "]]]")),  # red, bold, underlined
)


def painted(parts: Iterable[Piece], stream: TextIO) -> str:
    """The text with each token as surprising as it was; what is unknown stays plain."""
    return "".join(_token(part.text, part.probability, stream) for part in parts)


def legend(stream: TextIO) -> str:
    """What the colours stand for."""
    return "   ".join(_paint(level.name, level, stream) for level in LEVELS)


def percent(probability: float) -> str:
    """A probability in as many digits as tell something."""
    if probability < 0.001:
        return "under 0.1%"
    return f"{probability:.1%}" if probability < 0.0995 else f"{probability:.0%}"


def _token(text: str, probability: float | None, stream: TextIO) -> str:
    if probability is None:
        return spelt_out(text)
    level = next(level for level in LEVELS if probability >= level.least)
    body = text.rstrip("\n")
    if not body and level is not LEVELS[0]:  # a line end is seen by a sign
        body = encodable("⏎", "\\n", stream)
    return (_paint(spelt_out(body), level, stream) if body else "") + text[len(text.rstrip("\n")) :]


def _paint(text: str, level: Level, stream: TextIO) -> str:
    """The text as that surprising, but for spaces before it."""
    body = text.lstrip() or text
    if takes_escapes(stream) and not os.environ.get("NO_COLOR"):
        shown = f"\x1b[{level.style}m{body}\x1b[0m" if level.style else body
    else:
        shown = body.join(level.marks)
    return text[: len(text) - len(body)] + shown
