"""A table of Markdown in rows: columns as wide as the terminal allows, or a line for each cell where it is narrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from subbyte.cli.screen.inline import styled_line

if TYPE_CHECKING:
    from markdown_it.token import Token
    from rich.text import Text

GAP = 2  # columns between two of the table
MIN_COLUMN = 8  # of a column whose cells are wrapped
MAX_COLUMNS = 64

Wrap = Callable[["Text", int], "list[Text]"]


def table_rows(tokens: Sequence[Token], width: int, wrap: Wrap, rule: str) -> list[Text]:
    """The rows of a table on the screen; its first row is the heading."""
    from rich.text import Text

    cells, right = _cells(tokens)
    natural = [max(1, *(row[i].cell_len for row in cells)) for i in range(len(cells[0]))]
    widths = _fitted(natural, width)
    if widths is None:
        return _records(cells, width, wrap)
    rows: list[Text] = []
    for number, row in enumerate(cells):
        rows += _laid_out(row, widths, right, wrap)
        if number == 0:
            rows.append(Text((" " * GAP).join(rule * each for each in widths), "dim"))
    return rows


def _cells(tokens: Sequence[Token]) -> tuple[list[list[Text]], list[bool]]:
    """The cells by rows, and which columns are set to the right."""
    rows: list[list[Text]] = []
    right: list[bool] = []
    for i, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            cell = styled_line(tokens[i + 1].children or ())
            if token.type == "th_open":
                cell.stylize("bold")
                right.append("right" in str(token.attrs.get("style", "")))
            rows[-1].append(cell)
    return rows, right


def _fitted(natural: Sequence[int], width: int) -> list[int] | None:
    """The columns' widths, the widest made narrower until all fit; None where they can't."""
    widths, room = list(natural), width - GAP * (len(natural) - 1)
    if len(widths) > MAX_COLUMNS or sum(min(each, MIN_COLUMN) for each in widths) > room:
        return None
    while (excess := sum(widths) - room) > 0:
        most = max(widths)
        second = max((each for each in widths if each < most), default=MIN_COLUMN)
        widest = [i for i, each in enumerate(widths) if each == most]
        step = max(1, min(most - max(second, MIN_COLUMN), excess // len(widest)))
        for i in widest[: -(-excess // step)]:
            widths[i] -= step
    return widths


def _laid_out(row: Sequence[Text], widths: Sequence[int], right: Sequence[bool], wrap: Wrap) -> list[Text]:
    from rich.text import Text

    columns = [wrap(cell, each) for cell, each in zip(row, widths, strict=True)]
    rows = []
    for i in range(max(map(len, columns))):
        line = Text()
        for column, each, at_right in zip(columns, widths, right, strict=True):
            part = column[i] if i < len(column) else Text()
            blanks = " " * max(each - part.cell_len, 0)
            line.append_text(Text(blanks) + part if at_right else part + Text(blanks)).append(" " * GAP)
        line.rstrip()
        rows.append(line)
    return rows


def _records(cells: Sequence[Sequence[Text]], width: int, wrap: Wrap) -> list[Text]:
    """Each row of the table as lines of `heading: cell`."""
    from rich.text import Text

    heading, *others = cells
    if not others:
        return [line for cell in heading for line in wrap(cell, width)]
    rows: list[Text] = []
    for row in others:
        rows += [Text()] if rows else []
        for name, cell in zip(heading, row, strict=True):
            rows += wrap(name + Text(": ") + cell, width)
    return rows
