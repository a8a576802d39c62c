"""How the text of an answer is shown: as it is in a pipe, words wrapped on any terminal, Markdown where one can."""

from typing import Protocol, TextIO

from subbyte.cli.screen.words import WordWrap
from subbyte.cli.terminal.console import takes_escapes, terminal_width
from subbyte.runtime.text import spelt_out


class AnswerText(Protocol):
    """Shows one answer."""

    def feed(self, text: str) -> None:
        """Takes the next piece."""

    def end(self) -> None:
        """Shows all that has come, and ends the line."""


class PlainText:
    """Text as it comes; on a terminal with control characters spelt out and its words whole."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._wrap = out, WordWrap() if out.isatty() else None
        self._last = " "  # an empty answer is an empty line

    def feed(self, text: str) -> None:
        """Takes the next piece."""
        if self._wrap is not None:
            text = self._wrap.feed(spelt_out(text.replace("\r\n", "\n")), terminal_width(self._out))
        self._write(text)

    def end(self) -> None:
        """Writes what was held back, and ends the line."""
        if self._wrap is not None:
            self._write(self._wrap.end(terminal_width(self._out)))
        if not self._last.endswith("\n"):
            self._write("\n")

    def _write(self, text: str) -> None:
        if text:
            self._last = text
            self._out.write(text)
            self._out.flush()


def answer_text(out: TextIO, *, plain: bool = False) -> AnswerText:
    """What shows an answer on a stream. plain: Markdown's marks as the model wrote them."""
    if plain or not takes_escapes(out):
        return PlainText(out)
    from subbyte.cli.screen.markdown import MarkdownText

    return MarkdownText(out)
