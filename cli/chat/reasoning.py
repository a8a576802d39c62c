"""The reasoning of an answer, shown apart from it: as dim text, or hidden behind one line that counts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, TextIO

from subbyte.cli.chat.keyboard import CTRL_T, Keyboard
from subbyte.cli.screen.words import WordWrap
from subbyte.cli.terminal.console import dim, encodable, terminal_width
from subbyte.cli.terminal.status_line import StatusLine
from subbyte.runtime.text import spelt_out

if TYPE_CHECKING:
    from subbyte.runtime.generation.events import Event, Reply


class ShownAnswer(Protocol):
    """An answer as far as showing it goes: a `Generation`, or one with more before or behind its events."""

    def __iter__(self) -> "Iterator[Event]": ...

    @property
    def reply(self) -> "Reply":
        """What has come so far."""

    def close(self) -> None:
        """Ends the answer here."""


class Reasoning:
    """Shows the reasoning of one answer on `stream`: `feed` what comes, `end` it before the answer's text.

    Shown, it stands between `thinking …` and `thought for 3.1 s, 214 tokens`; hidden, a live line counts and only the
    last one stays. Ctrl-T changes between the two: hiding leaves what stands there and shows no more, showing prints
    what was missed. Nothing that has scrolled by is ever rewritten.
    """

    def __init__(self, stream: TextIO, *, hidden: bool, after: float = 0.0, keyboard: Keyboard | None = None) -> None:
        """Hidden reasoning of less than `after` seconds leaves no trace; without a keyboard nothing changes."""
        self.hidden = hidden
        self._stream, self._after, self._keyboard = stream, after, keyboard
        self._line, self._wrap = StatusLine(stream), WordWrap()
        self._answer: ShownAnswer | None = None  # whose reasoning has begun and not ended
        self._waiting = ""  # has come, but was not printed
        self._opened = self._within = False  # the first line was printed; the cursor stands behind text

    def feed(self, text: str, answer: ShownAnswer) -> None:
        """Takes the next piece of the answer's reasoning."""
        self._watch()
        self._waiting += text if self._answer else text.lstrip()
        if self._waiting:
            self._answer = answer
            if not self.hidden:
                self._print()
            elif (reply := answer.reply).timings.generation >= self._after:
                self._line.write(f"{self._heading()} {_figures(reply)}{self._hint('shows')}")

    def end(self) -> None:
        """Closes the reasoning, if any came, with the line that sums it up and an empty one."""
        if self._answer is None:
            return
        reply, self._answer = self._answer.reply, None
        self._line.clear()
        self._end_line()
        if self._opened or reply.timings.generation >= self._after:
            self._write(dim(f"thought for {_figures(reply)}", self._stream) + "\n\n")

    def _watch(self) -> None:
        """Changes between shown and hidden as often as the key was pressed."""
        if self._keyboard is not None and self._keyboard.presses(CTRL_T) % 2:
            self.hidden = not self.hidden
            self._line.clear()
            self._end_line()

    def _print(self) -> None:
        """Prints what waits, except space that may turn out to be the end."""
        text = self._waiting.rstrip()
        if not self._opened:
            self._write(dim(self._heading() + self._hint("hides"), self._stream) + "\n")
            self._opened = True
        if text:
            self._write_dim(self._wrap.feed(spelt_out(text), self._width))
            self._waiting = self._waiting[len(text) :]
            self._within = True

    def _end_line(self) -> None:
        if self._within:
            self._write_dim(self._wrap.end(self._width))
            self._write("\n")
            self._within = False

    @property
    def _width(self) -> int:
        return terminal_width(self._stream) if self._stream.isatty() else 0

    def _heading(self) -> str:
        return f"thinking {encodable('…', '...', self._stream)}"

    def _hint(self, does: str) -> str:
        return f" (Ctrl-T {does} it)" if self._keyboard is not None and self._keyboard.is_listening else ""

    def _write_dim(self, text: str) -> None:
        if text:
            self._write(dim(text, self._stream))

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _figures(reply: "Reply") -> str:
    tokens = reply.usage.thinking
    return f"{reply.timings.generation:.1f} s, {tokens} token{'s' if tokens != 1 else ''}"
