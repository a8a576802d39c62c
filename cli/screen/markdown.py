"""Markdown rendered while it comes: what is finished is written once and stays, the last block is drawn again."""

from __future__ import annotations

import re
import time
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from subbyte.cli.screen.code import language_of
from subbyte.cli.screen.painter import Painter, Row
from subbyte.cli.terminal.columns import cells
from subbyte.cli.terminal.console import encodable
from subbyte.runtime.text import spelt_out

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.console import Console
    from rich.text import Text

    from subbyte.cli.screen.blocks import Block
    from subbyte.cli.screen.layout import Layout

PAUSE, MAX_PAUSE = 0.03, 0.2  # seconds between two drawings: more where drawing takes over a tenth of the time
MAX_BLOCK, MAX_SIMPLE = 1 << 14, 1 << 12  # characters of a block, of code or paragraph; a longer one is cut in two
_UNDECIDED = re.compile(r"\n *(#{1,6}|\d{1,9}[.)]?)\Z")  # a heading or a #tag, an item of a list or a number
_WORDS = re.compile(r"[A-Za-z](?:[^\W_]|[ ,'\u2019.:?!])*")


class MarkdownText:
    """Shows the text of one answer on a terminal that takes escape sequences."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._painter = out, Painter(out)
        self._source = ""  # of the blocks that are not finished
        self._spaced = False  # whether an empty row goes before the first of these
        self._seen = ""  # its characters that stay as they were written: the terminal's width was another one then
        self._laid_out = False  # whether anything was shown but words that look the same in any way
        self._next = 0.0  # when to draw again

    def feed(self, text: str) -> None:
        """Takes the next piece of the text, and shows it unless it is too soon for that."""
        self._source += spelt_out(text.replace("\r\n", "\n"))
        now = time.monotonic()
        if self._is_words:
            self._paint_words()
        elif now >= self._next and self._source.strip() and not _UNDECIDED.search(self._source):
            self._draw(whole=False)
            ended = time.monotonic()
            self._next = ended + min(max(PAUSE, 10 * (ended - now)), MAX_PAUSE)

    def end(self) -> None:
        """Shows all of it, and leaves the cursor below."""
        if self._is_words:
            self._paint_words()
        elif self._source.strip():
            self._draw(whole=True)
        else:
            self._painter.paint([*self._painter.shown, Row("", "")])  # an empty answer is an empty line
        self._painter.end()

    @property
    def _is_words(self) -> bool:
        """Whether all there is are words in one row: the first of an answer need not wait for what lays out others."""
        words = self._source.rstrip()
        return not self._laid_out and bool(_WORDS.fullmatch(words)) and cells(words) < self._painter.width

    def _paint_words(self) -> None:
        words = self._source.rstrip()
        self._painter.paint([Row(words, words)])

    def _draw(self, *, whole: bool) -> None:
        from subbyte.cli.screen.blocks import blocks_of

        if self._painter.resized():
            self._keep_what_is_shown()
        self._laid_out = True
        blocks = blocks_of(self._source, whole=whole)
        rows: list[Row] = []
        n_finished, last = 0, -1 if whole else len(blocks) - 1
        for i, block in enumerate(blocks):
            n_finished = len(rows)
            rows += self._rows(block, spaced=block.spaced if i else self._spaced, is_last=i == last)
        self._painter.paint(rows, n_finished)
        if len(blocks) > 1:
            self._source = "\n".join(self._source.split("\n")[blocks[-1].line :])
            self._spaced = blocks[-1].spaced
        if len(self._source) > MAX_SIMPLE:
            self._cut(blocks[-1].tokens[0])

    def _rows(self, block: Block, *, spaced: bool, is_last: bool) -> list[Row]:
        rows, is_table = self._layout.rows(block.tokens, self._painter.width - 1), _is_table(block)
        if is_last and is_table:  # its columns may change: no more of it is shown than can be drawn again
            rows = rows[-max(self._painter.height - 2, 1) :]
        seen = self._seen
        if not is_last:
            self._seen = ""
        empty = [Row("", "")] if spaced and not seen else []
        return [*empty, *map(self._row, rows if is_table else unseen(rows, seen))]

    def _keep_what_is_shown(self) -> None:
        """After a resize nobody knows where rows are: those shown stay, and the rest of the block goes below."""
        self._seen += "".join("".join(row.plain.split()) for row in self._painter.shown)
        self._painter.end()

    def _cut(self, first: Token) -> None:
        """Makes do with what is shown of a block that is too long to be drawn again; what comes is another one."""
        if first.type == "fence":
            line = self._source.rpartition("\n")[2]
            self._painter.finish(len(self._painter.shown) - bool(line))
            self._source = f"{first.markup}{language_of(first.info)}\n{line}"
        elif first.type == "paragraph_open" or len(self._source) > MAX_BLOCK:
            self._painter.end()
            self._source = ""
        else:
            return
        self._seen, self._spaced = "", False

    def _row(self, text: Text) -> Row:
        """A row as rich writes it; a tab stays one, for whoever copies code."""
        from rich.color import ColorSystem
        from rich.segment import Segment

        if not text.style and not text.spans:
            return Row(text.plain, text.plain)
        text.stylize_before(text.style)  # which rendering heeds only where there are other styles
        parts = text.render(self._console)
        parts = Segment.remove_color(parts) if self._console.no_color else parts
        written = (style.render(part, color_system=ColorSystem.STANDARD) if style else part for part, style, _ in parts)
        return Row(text.plain, "".join(written))

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(file=self._out, force_terminal=True, legacy_windows=False)

    @cached_property
    def _layout(self) -> Layout:
        from subbyte.cli.screen.layout import Layout

        return Layout(self._console, (
            encodable("•", "-", self._out), encodable("│ ", "> ", self._out), encodable("─", "-", self._out),
        ))  # fmt: skip


def _is_table(block: Block) -> bool:
    return block.tokens[0].type == "table_open"


def unseen(rows: list[Text], seen: str) -> list[Text]:
    """The rows without the characters `seen` at their beginning; from the first row on that does not begin so."""
    for i, row in enumerate(rows):
        if not seen:
            return rows[i:]
        plain = "".join(row.plain.split())
        if seen.startswith(plain):
            seen = seen[len(plain) :]
        elif plain.startswith(seen):
            places = [place for place, char in enumerate(row.plain) if not char.isspace()]
            return [row[places[len(seen)] :], *rows[i + 1 :]]
        else:
            return rows[i:]
    return []
