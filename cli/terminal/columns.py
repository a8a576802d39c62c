"""Text measured and wrapped in columns of a terminal, of which a character may take none, one or two."""

import re
from typing import TextIO

from subbyte.cli.terminal.console import terminal_width

MIN_COLUMN = 16  # of a text beside a label; a narrower terminal wraps lines itself
NO_BREAK = "\xa0"  # a space at which no line is broken
_PIECES = re.compile(r"[^\S\xa0]+|[\u2e80-\U0003ffff]|(?:\xa0|[^\s\u2e80-\U0003ffff])+")  # Chinese is wrapped anywhere


def cells(text: str) -> int:
    """Columns that a text takes, tabs as a terminal has them."""
    if text.isascii() and "\t" not in text:
        return len(text)
    from rich.cells import cell_len

    column = 0
    for i, part in enumerate(text.split("\t")):
        column = (column // 8 + 1) * 8 if i else 0
        column += cell_len(part)
    return column


def wrapped(text: str, width: int, *, whole: bool = False) -> list[str]:
    """The text as lines of at most `width` columns. whole: a word that is longer is not cut, as a path to be copied."""
    lines, line, space = [], "", ""
    for piece in _PIECES.findall(text):
        if piece.isspace():
            space = piece
            continue
        if line and cells(line + space + piece) > width:
            lines.append(line)
            line = space = ""
        line, space = line + space * bool(line) + piece, ""
        while not whole and len(line) > width:
            lines.append(line[:width])
            line = line[width:]
    return [*lines, line] if line or not lines else lines


def beside(label: str, text: str, stream: TextIO) -> list[str]:
    """A label and a text in a column of its own beside it, which a terminal gets wrapped between words."""
    if not stream.isatty():
        return [label + text]
    first, *others = wrapped(text, max(terminal_width(stream) - 1 - len(label), MIN_COLUMN))
    return [label + first, *(" " * len(label) + other for other in others)]
