"""Tables on stdout: fitted to a terminal, whole in a pipe."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from subbyte.cli.terminal.console import one_line, rich_console, styled, visible, write_styled

GAP = 3  # columns of space


class TextTable(NamedTuple):
    """A column whose heading ends with > has its cells at the right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def numeric(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> TextTable:
    """A table of numbers behind a first column of text."""
    return TextTable(title, [columns[0], *(f"{column}>" for column in columns[1:])], list(rows))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a title, the columns' headings (one that ends with > has its cells at the right) and the rows.

    Where a terminal is too narrow, the last column is cut with an ellipsis, the others stay whole.
    """
    from rich.table import Table

    console = rich_console()
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    cells = [[styled(visible(cell)) for cell in row] for row in rows]
    left, used = console.width, 0
    for i, column in enumerate(columns):
        heading = visible(column.removesuffix(">"))
        side: Literal["left", "right"] = "right" if column.endswith(">") else "left"
        width = max([len(heading), *(row[i].cell_len for row in cells)])
        if i == len(columns) - 1:
            width = max(min(width, left), len(heading))
        left, used = left - width - GAP, used + width + GAP
        table.add_column(heading, justify=side, no_wrap=True, overflow="ellipsis", width=width)
    console.width = max(console.width, used)  # else rich would cut the others, too
    for row in cells:
        table.add_row(*row)
    write_styled(console, [*([styled(f"\n{one_line(title)}", "bold")] if title else []), table])
