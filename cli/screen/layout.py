"""A block of Markdown laid out in rows: words wrapped, code as it is, nothing around it that would be copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from subbyte.cli.screen.code import code_lines
from subbyte.cli.screen.inline import styled_line
from subbyte.cli.screen.table import table_rows
from subbyte.runtime.text import spelt_out

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.console import Console
    from rich.text import Text

MIN_COLUMNS = 10  # of text; where marks leave less, rows are longer than the terminal
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
        if kinds[1].endswith("list_open") or kinds == ("list_item_close", "list_item_open"):
            return 0 < _last_line(tokens, i) < _line(tokens[i])
        return True

    def _block(self, tokens: Sequence[Token], width: int) -> list[Text]:
        first, inner = tokens[0], tokens[1:-1]
        if first.type in ("fence", "code_block"):
            code = spelt_out(first.content)
            return code_lines(code[:-1] if code.endswith("\n") else code, first.info)
        if first.type == "hr":
            return [_text(self._rule * min(width, 40), "dim")]
        if first.type == "inline":
            return self.wrapped(styled_line(first.children or ()), width)
        if first.type == "heading_open":
            return self._heading(inner, _HEADINGS.get(first.tag, "bold"), width)
        if first.type == "table_open":
            return table_rows(inner, width, self.wrapped, self._rule)
        if first.type == "list_item_open":
            return self._item(first, inner, width)
        if first.type == "blockquote_open":
            return _marked(self._bar, self._bar, self.rows(inner, width - len(self._bar)), is_code=False)
        return self.rows(inner, width) if inner else []

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
            is_code = inner[i].type in ("fence", "code_block")
            rows += _marked(mark if not rows else " " * len(mark), " " * len(mark), part, is_code=is_code)
            i = end + 1
        return rows or [_text(mark.rstrip())]

    def wrapped(self, text: Text, width: int) -> list[Text]:
        """The lines of a text, cut between words, or within one that is longer than a row."""
        return [line for part in text.split("\n", allow_blank=True) for line in self._lines(part, width)]

    def _lines(self, text: Text, width: int) -> list[Text]:
        lines = list(text.wrap(self._console, width, overflow="fold"))
        for line in lines:
            line.rstrip()
        return lines or [_text()]


def _text(plain: str = "", style: str = "") -> Text:
    from rich.text import Text

    return Text(plain, style)


def _marked(first: str, others: str, rows: Sequence[Text], *, is_code: bool) -> list[Text]:
    if is_code:
        return list(rows) if first.isspace() else [_text(first.rstrip()), *rows]
    return [_text(others if i else first).append_text(row) for i, row in enumerate(rows)]


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
