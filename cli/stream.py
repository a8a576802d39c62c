"""Shows an answer while it is made: its text on stdout as it comes, long reading of the prompt as a line on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Protocol, TextIO

from subbyte.cli.console import printable

if TYPE_CHECKING:
    from subbyte.runtime.events import Event, Reply

SHOW_AFTER = 1.0  # seconds of reading before the progress line appears


class ReadingLine:
    """`reading the prompt: 512/2048 tokens`, rewritten in place on a terminal after a second, and wiped at the end."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream if stream.isatty() else None
        self._clock = clock
        self._start = clock()
        self._shown = False

    def update(self, done: int, total: int) -> None:
        """Shows how many of the prompt's tokens have been read."""
        if self._stream is None or self._clock() - self._start < SHOW_AFTER:
            return
        elapsed = self._clock() - self._start
        left = f", {elapsed / done * (total - done):.0f} s left" if 0 < done < total else ""
        self._stream.write(f"\r\x1b[Kreading the prompt: {done}/{total} tokens{left}")
        self._stream.flush()
        self._shown = True

    def clear(self) -> None:
        """Wipes the line, if there is one."""
        if self._stream is not None and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False


class Answer(Protocol):
    """An answer while it is made; `subbyte.runtime.generation.Generation` is one."""

    @property
    def reply(self) -> "Reply":
        """What has come so far, with its figures; after the last event all of it."""

    def __iter__(self) -> "Iterator[Event]": ...
    def close(self) -> None:
        """Ends it."""


def show(answer: Answer, out: TextIO) -> None:
    """Writes the answer's text to `out` piece by piece, and ends it with a newline.

    A terminal sees control characters spelt out; a pipe gets the text as it is.
    However this is left (Ctrl-C, a closed pipe), the answer is closed and the line ended.
    """
    from subbyte.runtime.events import PrefillProgress, TextDelta

    clean = printable if out.isatty() else str
    line, last = ReadingLine(sys.stderr), ""
    try:
        with closing(answer):
            for event in answer:
                if isinstance(event, PrefillProgress):
                    line.update(event.done, event.total)
                elif isinstance(event, TextDelta) and event.text:
                    line.clear()
                    out.write(clean(event.text))
                    out.flush()
                    last = event.text
        last = last or " "  # an empty answer is an empty line, no answer at all is none
    finally:
        line.clear()
        if last and not last.endswith("\n"):
            out.write("\n")
            out.flush()


def timing_line(reply: "Reply") -> str:
    """Tokens and seconds of an answer."""
    usage, timings = reply.usage, reply.timings
    rate = f", {timings.generation_rate:.1f} tokens/s" if timings.generation_rate > 0 else ""
    return (
        f"read {usage.prompt - usage.reused} of {usage.prompt} tokens in {timings.prefill:.2f} s, "
        f"made {usage.completion} in {timings.generation:.2f} s{rate}"
    )
