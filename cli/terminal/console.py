"""The three standard streams: made safe at the start, read and written by rules that hold for every command.

Answers and results go to stdout, nothing else does; notes and progress go to stderr, and only where a person sees them.
"""

import logging
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from subbyte.errors import ResourceError
from subbyte.runtime.text import one_line, spelt_out

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

MAX_CORPUS = 1 << 30  # bytes of a text that is measured, not shown
_ASCII = {"±": "+/-", "Δ": "d", "→": "->", "‖": "||"}
PIPE_WIDTH = 1 << 16  # columns


def prepare_streams() -> None:
    """Makes every later write safe: no closed descriptor, no character that the locale can't show."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:  # else the next file opened would become our stdout
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a test's stand-in has none
        if reconfigure is not None:
            reconfigure(errors="replace")


def shown(text: str, stream: TextIO) -> str:
    """The text in characters that the stream has."""
    for sign, plain in _ASCII.items():
        text = text.replace(sign, encodable(sign, plain, stream))
    return text


def write_line(text: str = "", *, stream: TextIO | None = None) -> None:
    """Writes a line, or several, to stdout, control characters made visible: files and models have any names.

    All that commands print goes through here or through `write_styled`.
    """
    stream = stream or sys.stdout
    print(spelt_out(shown(text, stream)), file=stream)


def styled(text: str, style: str = "") -> "Text":
    """A text with a style of rich's, control characters made visible."""
    from rich.text import Text

    return Text(spelt_out(shown(text, sys.stdout)), style)


def rich_console(*, stderr: bool = False) -> "Console":
    """What lays out styled text: for stdout fitted to a terminal, uncut in a pipe, which has no width."""
    from rich.console import Console

    class OurConsole(Console):
        def on_broken_pipe(self) -> None:
            raise

    return OurConsole(stderr=stderr, width=None if stderr or sys.stdout.isatty() else PIPE_WIDTH)


class _Clean:
    """What rich shows, control characters in its texts made visible; its own escapes come after that."""

    def __init__(self, part: "RenderableType") -> None:
        self._part = part

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[Segment]":
        from rich.segment import Segment

        for text, style, control in console.render(self._part, options):
            yield Segment(text if control else spelt_out(text), style, control)


def write_styled(console: "Console", parts: "Iterable[RenderableType]", *, padded: bool = True) -> None:
    """Writes styled texts and what is made of them to stdout. padded: spaces at the ends of lines mean nothing."""
    with console.capture() as capture:
        for part in parts:
            console.print(_Clean(part), soft_wrap=True)
    for line in capture.get().splitlines():
        print(line.rstrip() if padded else line)


def takes_escapes(stream: TextIO) -> bool:
    """Whether the stream is a terminal that understands escape sequences."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def terminal_width(stream: TextIO) -> int:
    """Columns of the terminal behind a stream; 80 where that can't be had."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80  # a terminal that was told no size has 0
    except OSError:
        return 80


def dim(text: str, stream: TextIO) -> str:
    """The text set apart where the stream can do that."""
    return f"\x1b[2m{text}\x1b[0m" if takes_escapes(stream) else text


def encodable(text: str, fallback: str, stream: TextIO) -> str:
    """`text` if the stream's encoding has all of its characters, else `fallback`."""
    try:
        text.encode(stream.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return fallback
    return text


def say(message: str) -> None:
    """A line of the program's own on stderr."""
    write_line(f"subbyte: {one_line(message)}", stream=sys.stderr)


def note(message: str, *, verbose: bool = False) -> None:
    """A line for the person at the terminal; nothing when stderr goes elsewhere, unless asked for with -v."""
    if verbose or sys.stderr.isatty():
        say(message)


class Notes(logging.Handler):
    """Writes the library's log records to stderr, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        say(f"{record.levelname.lower()}: {record.getMessage()}")


def show_log(verbose: bool) -> None:
    """Shows the library's log: warnings, with -v all records."""
    logger = logging.getLogger("subbyte")
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    logger.handlers = [Notes()]


def read_text(source: str, limit: int = 1 << 26) -> str:
    """The whole of a file (`-`: stdin) as text, a byte order mark dropped, bytes that are not UTF-8 shown as U+FFFD."""
    return decode(read_bytes(source, limit))


def read_bytes(source: str, limit: int) -> bytes:
    """The whole of a file (`-`: stdin); ResourceError when it is longer than `limit` bytes, OSError when unreadable."""
    if source == "-":
        return _read(sys.stdin.buffer, "standard input", limit)
    with Path(source).open("rb") as file:
        if stat.S_ISCHR(os.fstat(file.fileno()).st_mode) and not file.isatty() and source != os.devnull:
            raise ResourceError(f"{source}: a device, which may have no end; give a file, or - for standard input")
        return _read(file, source, limit)


def decode(data: bytes) -> str:
    """UTF-8 bytes from outside as text."""
    return data.decode("utf-8-sig", errors="replace")


def _read(file: BinaryIO, name: str, limit: int) -> bytes:
    from subbyte.runtime.files import UnfitFile, read_limited

    try:
        return read_limited(file, limit)
    except UnfitFile as error:
        raise ResourceError(f"{name}: {error.strerror}") from None


def human_size(n_bytes: int) -> str:
    """Bytes as people read them: `94.2 MB`."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def local_time(seconds: float) -> str:
    """A time since 1970 as people here read it: `2026-11-30 09:25`."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def human_count(n: int) -> str:
    """A count in four characters or so: `950`, `8.2k`, `135M`."""
    for unit, step in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if n >= step:
            value = n / step
            return f"{value:.0f}{unit}" if value >= 100 else f"{value:.1f}{unit}"
    return str(n)
