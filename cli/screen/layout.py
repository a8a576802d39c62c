"""A block of Markdown laid out in rows: words wrapped, code as it is, nothing around it that would be copied."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from subbyte.cli.screen.blocks import ends_in_code
from subbyte.cli.screen.code import code_lines, language_of
from subbyte.cli.screen.inline import styled_line
from subbyte.cli.screen.table import table_rows
from subbyte.cli.terminal.columns import cells
from subbyte.runtime.text import spelt_out

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.console import Console
    from rich.text import Text

MIN_COLUMNS = 10  # of text; where marks leave less, rows are longer than the terminal
_WORDS = re.compile(r"(\S+)\s*")
_HEADINGS = {"h1": "bold underline", "h2": "bold underline"}


class Layout:
    """Lays blocks out for one terminal. signs: a bullet, the bar of a quote, a rule, as its encoding has them."""

    def __init__(self, console: Console, signs: tuple[str, str, str]) -> None:
        self._console = console
        self._bullet, self._bar, self._rule = signs

    def rows(self, tokens: Sequence[Token], width: int) -> list[Text]:
        """The rows of one block, or of several within another."""
        rows: list[Text] = []
        i = 0
        while i < len(tokens):
            end = _end(tokens, i)
            if rows and self._spaced(tokens, i):
                rows.append(_text())
            rows += self._block(tokens[i : end + 1], max(width, MIN_COLUMNS))
            i = end + 1
        return rows

    def _spaced(self, tokens: Sequence[Token], i: int) -> bool:
        """Whether an empty row goes before a block within another one."""
        kinds = tokens[i - 1].type, tokens[i].type
        if ends_in_code(tokens[:i]):
            return True
        if kinds[1].endswith("list_open") or kinds == ("list_item_close", "list_item_open"):
            return 0 < _last_line(tokens, i) < _line(tokens[i])
        return True

    def _block(self, tokens: Sequence[Token], width: int) -> list[Text]:
        first, inner = tokens[0], tokens[1:-1]
        if first.type in ("fence", "code_block"):
            return self._code(spelt_out(first.content), spelt_out(first.info.strip()), width)
        if first.type == "hr":
            return [_text(self._rule * min(width, 40), "dim")]
        if first.type == "inline":
            return self.wrapped(styled_line(first.children or ()), width)
        if first.type == "heading_open":
            return self._heading(inner, _HEADINGS.get(first.tag, "bold"), width)
        if first.type == "table_open":
            return table_rows(inner, width, self._folded, self._rule)
        if first.type == "list_item_open":
            return self._item(first, inner, width)
        if first.type == "blockquote_open":
            return [_beside(self._bar, row) for row in self.rows(inner, width - len(self._bar))]
        return self.rows(inner, width) if inner else []

    def _code(self, code: str, info: str, width: int) -> list[Text]:
        """The lines of code, below what its fence tells beside a language: a title, the name of a file."""
        heading = [] if info == language_of(info) else self.wrapped(_text(info, "dim"), width)
        lines = code_lines(code[:-1] if code.endswith("\n") else code, info)
        for line in lines:
            line.no_wrap = True  # in a list, too, it stays at the terminal's edge
        return [*heading, *lines]

    def _heading(self, inner: Sequence[Token], style: str, width: int) -> list[Text]:
        text = _text("", style)
        for token in inner:
            text.append_text(styled_line(token.children or ()))
        return self.wrapped(text, width)

    def _item(self, first: Token, inner: Sequence[Token], width: int) -> list[Text]:
        """An item of a list: its number or bullet, and what it holds beside it; code stays at the terminal's edge."""
        mark = f"{first.info}{first.markup} " if first.info else f"{self._bullet} "
        rows: list[Text] = []
        i = 0
        while i < len(inner):
            end = _end(inner, i)
            if rows and self._spaced(inner, i):
                rows.append(_text())
            part = self._block(inner[i : end + 1], max(width - len(mark), MIN_COLUMNS))
            if part and not rows:
                rows = [_text(mark.rstrip()) if part[0].no_wrap else _beside(mark, part.pop(0))]
            rows += (row if row.no_wrap else _beside(" " * len(mark), row) for row in part)
            i = end + 1
        return rows or [_text(mark.rstrip())]

    def wrapped(self, text: Text, width: int) -> list[Text]:
        """The lines of a text, cut between words; a long address is left whole, for whoever copies or opens it."""
        return [line for part in text.split("\n", allow_blank=True) for line in self._lines(part, width)]

    def _folded(self, text: Text, width: int) -> list[Text]:
        """The same, with words cut that are longer than a line: what stands beside it has its own columns."""
        parts = text.split("\n", allow_blank=True)
        return [line for part in parts for line in self._lines(part, width, folds=True)]

    def _lines(self, text: Text, width: int, *, folds: bool = False) -> list[Text]:
        whole = not folds and any(len(word) > width and word.isascii() for word in text.plain.split())
        lines = list(text.divide(_breaks(text.plain, width)) if whole else text.wrap(self._console, width))
        for line in lines:
            line.rstrip()
        return lines or [_text()]


def _breaks(plain: str, width: int) -> list[int]:
    """Where lines begin of which none is longer than the width, unless it is a word."""
    breaks, column = [], 0
    for word in _WORDS.finditer(plain):
        if column and column + cells(word[1]) > width:
            breaks.append(word.start())
            column = 0
        column += cells(word[0])
    return breaks


def _text(plain: str = "", style: str = "") -> Text:
    from rich.text import Text

    return Text(plain, style)


def _beside(mark: str, row: Text) -> Text:
    line = _text(mark).append_text(row)
    line.rstrip()
    return line


def _end(tokens: Sequence[Token], i: int) -> int:
    """The index of the token that closes the block which the i-th one opens."""
    depth = 0
    for end in range(i, len(tokens)):
        depth += tokens[end].nesting
        if depth <= 0:
            return end
    return len(tokens) - 1


def _line(token: Token) -> int:
    return (token.map or [0, 0])[0]


def _last_line(tokens: Sequence[Token], i: int) -> int:
    """The line behind what comes before the i-th token."""
    return max((token.map[1] for token in tokens[:i] if token.map), default=0)
