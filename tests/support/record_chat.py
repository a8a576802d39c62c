"""A session of the chat with SmolLM2, recorded: `.venv/bin/python tests/support/record_chat.py`.

It types what a person would, into the real chat in a pseudo-terminal, and writes docs/chat.svg, the screen at the end,
and docs/chat.cast, all of it as it came, for `asciinema play`. Commands that the chat does not have are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path

import pyte
from paths import ROOT
from rich.console import Console
from rich.text import Text
from terminals import Terminal

from subbyte.cli.slash.slash_commands import COMMANDS

COLUMNS, ROWS = 92, 60
MODEL = "smollm2"
STEPS = (
    "What is the capital of France?",
    "And of Italy?",
    "/probs",
    "/undo",
    "Write one sentence about the sea.",
    "/alt 2",
    "/set temp 0.7",
    "/regen",
    "/sessions",
    "/model",
    "/stats",
)
KEY_SECONDS, READ_SECONDS = 0.04, 0.8  # between two keys, and before the next input
THEME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class Recording:
    """What a terminal is sent, with the seconds since the start; pexpect writes to it."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str]] = []
        self._start = time.monotonic()
        self._rest = b""  # the beginning of a character

    def write(self, data: bytes) -> None:
        """Takes bytes as they come."""
        data, self._rest = self._rest + data, b""
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            text, self._rest = data[: error.start].decode(), data[error.start :]
        self.events.append((time.monotonic() - self._start, text))

    def flush(self) -> None:
        """Nothing is held back."""

    def cast(self) -> str:
        """The recording as asciicast v2; https://docs.asciinema.org/manual/asciicast/v2."""
        head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": f"subbyte chat {MODEL}"}
        lines = [json.dumps(head), *(json.dumps([round(at, 3), "o", text]) for at, text in self.events)]
        return "\n".join(lines) + "\n"


def record(folder: Path) -> tuple[Recording, pyte.Screen]:
    """Holds the session; folder: for a history of its own."""
    recording = Recording()
    command = [sys.executable, "-c", "from subbyte.cli.entry import main; main()", "chat", MODEL, "-c", "2048"]
    env = {"XDG_DATA_HOME": str(folder), "COLORTERM": "truecolor", "SUBBYTE_CACHE": _cache()}
    terminal = Terminal(command, shell='exec "$@"', columns=COLUMNS, rows=ROWS, **env)
    terminal.child.logfile_read = recording
    try:
        terminal.prompt()
        for step in STEPS:
            if step.startswith("/") and step.split()[0] not in COMMANDS:
                continue
            for key in step:
                terminal.keys(key)
                _watch(terminal, KEY_SECONDS)
            terminal.keys("\r")
            _watch(terminal, KEY_SECONDS)
            terminal.prompt()
            _watch(terminal, READ_SECONDS)
        return recording, terminal.screen
    finally:
        terminal.child.close(force=True)


def svg(screen: pyte.Screen) -> str:
    """The screen as a picture that needs nothing from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), color_system="truecolor")
    filled = [row for row, line in enumerate(screen.display) if line.strip()]
    for row in [*range(filled[-2] + 2), filled[-1]]:  # no empty ground between the prompt and the bottom line
        line = Text(no_wrap=True)
        chars = [screen.buffer[row][column] for column in range(COLUMNS)]
        for style, run in groupby(chars, _style):
            line.append("".join(char.data for char in run), style)
        line.rstrip()
        console.print(line)
    return console.export_svg(title=f"subbyte chat {MODEL}", code_format=THEME, unique_id="chat")


def _style(char: pyte.screens.Char) -> str:
    """The look of a character in rich's words."""
    parts = [word for word in ("bold", "italics", "underscore", "reverse") if getattr(char, word)]
    words = ["italic" if word == "italics" else "underline" if word == "underscore" else word for word in parts]
    return " ".join([*words, _colour(char.fg, ""), *(["on " + _colour(char.bg, "")] if char.bg != "default" else [])])


def _colour(name: str, bright: str) -> str:
    """pyte's name of a colour in rich's words."""
    if name.startswith("bright"):
        name, bright = name.removeprefix("bright"), "bright_"
    name = {"brown": "yellow"}.get(name, name)
    return name if name == "default" else f"#{name}" if len(name) == 6 and _is_hex(name) else bright + name


def _is_hex(name: str) -> bool:
    return all(letter in "0123456789abcdef" for letter in name)


def _watch(terminal: Terminal, seconds: float) -> None:
    """Reads what is shown for a while."""
    end = time.monotonic() + seconds
    terminal.wait(lambda: time.monotonic() >= end, "the time to pass")


def _cache() -> str:
    """The folder of models, which XDG_DATA_HOME does not move."""
    from subbyte.runtime.store.resolve import cache_folder

    return str(cache_folder().parent)


def main() -> None:
    """Writes both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as data:
        recording, screen = record(Path(data))
    (folder / "chat.cast").write_text(recording.cast())
    (folder / "chat.svg").write_text(svg(screen))
    print(
        f"{len(recording.events)} pieces of output in {folder / 'chat.cast'}, the last screen in {folder / 'chat.svg'}"
    )


if __name__ == "__main__":
    main()
