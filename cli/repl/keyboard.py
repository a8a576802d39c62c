"""The keyboard while an answer is generated: one key is watched for, all others wait for the next prompt."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

CTRL_T = b"\x14"


class Keyboard:
    """Reads single keys from a terminal without showing them; where the stream is no terminal there are none."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._fd: int | None = None  # while we listen at a terminal
        self._typed = b""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within, keys come one by one and unseen; however it is left, or stopped by Ctrl-Z, the terminal is as before.

        Only for the main thread, which is the one that signals reach.
        """
        import termios

        try:
            fd = self._stream.fileno()
            before = termios.tcgetattr(fd)
        except (OSError, ValueError, termios.error):  # not a terminal
            yield
            return
        mode = [*before[:6], list(before[6])]
        mode[0] &= ~termios.ICRNL  # Enter stays what the prompt takes it for
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        self._fd = fd
        try:
            with _terminal_mode(fd, before, mode):
                yield
        finally:
            self._fd = None

    @property
    def is_listening(self) -> bool:
        """Whether keys reach us now."""
        return self._fd is not None

    def presses(self, key: bytes) -> int:
        """How often the key was pressed since the last call."""
        while self._fd is not None and _foreground(self._fd) and select.select([self._fd], [], [], 0)[0]:
            keys = os.read(self._fd, 4096)
            if not keys:  # the terminal is gone
                break
            self._typed += keys
        before = len(self._typed)
        self._typed = self._typed.replace(key, b"")
        return (before - len(self._typed)) // len(key)

    def take(self) -> str:
        """The other keys typed meanwhile, as a terminal sends them; from now on they are forgotten here."""
        typed, self._typed = self._typed.decode("utf-8", "surrogateescape"), b""
        return typed


@contextmanager
def _terminal_mode(fd: int, before: list[Any], mode: list[Any]) -> Iterator[None]:
    """Within, the terminal is in `mode` as long as we run in its foreground, else as `before`."""
    import termios

    def take(_: int, __: FrameType | None) -> None:
        """SIGCONT: the shell may have changed the terminal, and it is not ours if we go on in the background."""
        if _foreground(fd):
            termios.tcsetattr(fd, termios.TCSADRAIN, mode)

    def stop(number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: stops here, or goes on at once where no shell could continue us."""
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, stop)
        take(number, frame)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT)}
    try:
        signal.signal(signal.SIGTSTP, stop)
        signal.signal(signal.SIGCONT, take)
        termios.tcsetattr(fd, termios.TCSADRAIN, mode)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _foreground(fd: int) -> bool:
    """Whether the terminal is ours: reading or changing it in the background would stop the process."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:  # not the terminal of our session: nobody will stop us
        return True
