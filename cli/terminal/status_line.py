"""Lines on a terminal that are rewritten in place while something goes on."""

import time
from collections.abc import Callable
from typing import TextIO

from subbyte.cli.terminal.console import dim, takes_escapes, terminal_width

SHOW_AFTER = 1.0  # seconds before a line appears that may turn out not to be needed


class StatusLine:
    """One dim line; on anything but a terminal that can rewrite it nothing is ever shown."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if takes_escapes(stream) else None
        self._shown = False

    def write(self, text: str) -> None:
        """Shows the text in place of the last one, cut to one row."""
        if self._stream is not None:
            self._stream.write(f"\r{dim(text[: terminal_width(self._stream) - 1], self._stream)}\x1b[K")
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        """Wipes the line, if there is one."""
        if self._stream is not None and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False


class PrefillStatus:
    """`prefill: 512/2048 tokens, 6 s left` from a second on, wiped at the end."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._line = StatusLine(stream)
        self._clock = clock
        self._start = clock()

    def update(self, done: int, total: int) -> None:
        """Shows how many of the prompt's tokens have been computed."""
        elapsed = self._clock() - self._start
        if elapsed >= SHOW_AFTER:
            left = f", {elapsed / done * (total - done):.0f} s left" if 0 < done < total else ""
            self._line.write(f"prefill: {done}/{total} tokens{left}")

    def clear(self) -> None:
        """Wipes the line, if there is one."""
        self._line.clear()
