"""Programs in a terminal, seen as a person sees them (pexpect + pyte)."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import pexpect
import pyte

CTRL_C, CTRL_D, CTRL_T, CTRL_Z, ALT_ENTER, UP = "\x03", "\x04", "\x14", "\x1a", "\x1b\r", "\x1b[A"
OTHER_TERMINALS = ("NO_COLOR", "PROMPT_TOOLKIT_NO_CPR", "COLUMNS", "LINES")  # variables that speak of another one
# Afterwards the terminal is looked at; the shell outlives the signals that go to the whole group.
SHELL = """trap : INT TERM; "$@"; code=$?; stty -a | tr " " "\\n" | grep -x -e echo -e -echo; exit $code"""


class Screen(pyte.Screen):
    """Answers a program that asks where the cursor is."""

    def __init__(self, send: Callable[[str], object], columns: int, rows: int) -> None:
        super().__init__(columns, rows)
        self._send = send

    def write_process_input(self, data: str) -> None:
        self._send(data)


class Terminal:
    """A program in a terminal: its screen, and keys for it. It waits for what is shown, never blindly."""

    def __init__(
        self, command: Sequence[str], *, shell: str = SHELL, columns: int = 80, rows: int = 24, **env: str
    ) -> None:
        environ = {key: value for key, value in os.environ.items() if key not in OTHER_TERMINALS}
        # POSIX names no encoding: UTF-8 mode keeps the screen the same everywhere.
        environ |= {"TERM": "xterm-256color", "PYTHONUTF8": "1", **env}
        self.child = pexpect.spawn("sh", ["-c", shell, "sh", *command], env=environ, dimensions=(rows, columns))
        self._screen = Screen(self.child.send, columns, rows)
        self._stream = pyte.ByteStream(self._screen)

    def resize(self, columns: int, rows: int) -> None:
        """Gives the terminal another size, as a person does who pulls at its corner; its rows are cut or stay."""
        self._screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    @property
    def screen(self) -> pyte.Screen:
        """The screen as pyte has it, with colours."""
        return self._screen

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    def cells(self, row: int) -> list[Any]:
        """The characters of a row with their colours."""
        return [self._screen.buffer[row][column] for column in range(self._screen.columns)]

    @property
    def text(self) -> str:
        """The screen above the bottom line, without empty lines at its end."""
        return "\n".join(line for line in self.lines if not line.startswith(" smollm2 ")).rstrip()

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Reads the terminal until the condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited for {what}; the screen:\n" + "\n".join(self.lines)
            try:
                self._stream.feed(self.child.read_nonblocking(4096, timeout=0.05))
            except pexpect.TIMEOUT:
                pass
            except pexpect.EOF:
                assert condition(), f"ended while waiting for {what}; the screen:\n" + "\n".join(self.lines)

    def see(self, text: str) -> None:
        self.wait(lambda: text in "\n".join(self.lines), repr(text))

    def prompt(self, text: str = "") -> None:
        """Waits until the last line of input is `text`, with the bottom line below: the program reads keys now."""
        shown = f">>> {text}".rstrip()
        self.wait(
            lambda: (
                any(line.startswith(" smollm2 ") for line in self.lines)
                and self.text.splitlines()[-1].replace("Ask something (/help)", "").rstrip() == shown
            ),
            f"the prompt {text!r}",
        )

    def keys(self, text: str) -> None:
        self.child.send(text)

    def end(self) -> int | None:
        """Waits for the program's end; its exit code."""
        self.wait(lambda: not self.child.isalive() or self.child.eof(), "the end")
        self.child.close()
        code: int | None = self.child.exitstatus
        return code
