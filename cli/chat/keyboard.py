"""The keyboard while no prompt reads it: one key is watched for, all others wait for the next prompt."""

import os
import select
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from subbyte.cli.terminal.interrupt import one_interrupt

CTRL_D, CTRL_T = b"\x04", b"\x14"


class Keyboard:
    """Reads single keys from a terminal without showing them; where the stream is no terminal there are none.

    Only for the main thread, which is the one that signals reach.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._before: list[Any] | None = None  # within `quiet`: the mode that the terminal had
        self._fd: int | None = None  # while we listen at a terminal
        self._typed = b""

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Within, keys typed between two prompts stay keys, unseen; else Ctrl-D there would end a line nobody reads."""
        import termios

        terminal = self._terminal()
        if terminal is None:
            yield
            return
        fd, self._before = terminal
        try:
            termios.tcsetattr(fd, termios.TCSADRAIN, _key_mode(self._before))
            yield
        finally:
            termios.tcsetattr(fd, termios.TCSADRAIN, self._before)
            self._before = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Within, the terminal is as it was before `quiet`: for another program that reads it."""
        import termios

        terminal = self._terminal()
        if terminal is None or self._before is None:
            yield
            return
        fd, mode = terminal
        try:
            termios.tcsetattr(fd, termios.TCSADRAIN, self._before)
            yield
        finally:
            termios.tcsetattr(fd, termios.TCSADRAIN, mode)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within, `presses` sees keys; however it is left the terminal is as before, at Ctrl-Z as before `quiet`."""
        terminal = self._terminal()
        if terminal is None:
            yield
            return
        self._fd, mode = terminal
        try:
            with _terminal_mode(self._fd, mode, self._before or mode):
                yield
        finally:
            self._fd = None

    def _terminal(self) -> tuple[int, list[Any]] | None:
        """The terminal and its mode; None where the stream is none."""
        import termios

        try:
            return self._stream.fileno(), termios.tcgetattr(self._stream.fileno())
        except (OSError, ValueError, termios.error):
            return None

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

    @property
    def is_there(self) -> bool:
        """Whether there is a terminal, whose keys can be waited for."""
        return self._terminal() is not None

    def wait_for(self, keys: Collection[str], ask: Callable[[], None]) -> str | None:
        """Waits for one of these keys, in any case, and returns it; None for Ctrl-C, Ctrl-D and a lost terminal.

        ask: prints what is asked. Keys typed before that are no answer: they wait for the next prompt.
        """
        try:
            with self.listening(), one_interrupt():
                assert self._fd is not None
                self.presses(CTRL_T)
                ask()
                while data := os.read(self._fd, 1):
                    if (key := data.decode("latin-1").lower()) in keys:
                        return key
                    if data == CTRL_D:
                        break
        except KeyboardInterrupt:
            pass
        return None

    def take(self) -> str:
        """The other keys typed meanwhile, as a terminal sends them; from now on they are forgotten here."""
        typed, self._typed = self._typed.decode("utf-8", "surrogateescape"), b""
        return typed


def _key_mode(before: list[Any]) -> list[Any]:
    """The mode in which keys come one by one and unseen, all else as in `before`."""
    import termios

    mode = [*before[:6], list(before[6])]
    mode[0] &= ~termios.ICRNL  # Enter stays what the prompt takes it for
    mode[3] &= ~(termios.ECHO | termios.ICANON)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    return mode


@contextmanager
def _terminal_mode(fd: int, before: list[Any], stopped: list[Any]) -> Iterator[None]:
    """Within, keys come one by one and unseen as long as we run in the foreground; afterwards the mode is `before`.

    stopped: the mode while the process is stopped by Ctrl-Z.
    """
    import termios

    mode = _key_mode(before)

    def take(_: int, __: FrameType | None) -> None:
        """SIGCONT: the shell may have changed the terminal, and it is not ours if we go on in the background."""
        if _foreground(fd):
            termios.tcsetattr(fd, termios.TCSADRAIN, mode)

    def stop(number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: stops here, or goes on at once where no shell could continue us."""
        termios.tcsetattr(fd, termios.TCSADRAIN, stopped)
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
