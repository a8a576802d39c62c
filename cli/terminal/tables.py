"""Tables on stdout: fitted to a terminal, whole in a pipe."""

import sys
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from subbyte.cli.terminal.console import printable

GAP = 3  # columns of space
PIPE_WIDTH = 1 << 16  # a pipe has no width: nothing is cut


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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    cells = [[Text(printable(cell)) for cell in row] for row in rows]
    left, used = console.width, 0
    for i, column in enumerate(columns):
        heading = column.removesuffix(">")
        side: Literal["left", "right"] = "left" if heading == column else "right"
        width = max([len(heading), *(row[i].cell_len for row in cells)])
        if i == len(columns) - 1:
            width = max(min(width, left), len(heading))
        left, used = left - width - GAP, used + width + GAP
        table.add_column(heading, justify=side, no_wrap=True, overflow="ellipsis", width=width)
    console.width = max(console.width, used)  # else rich would cut the others, too
    for row in cells:
        table.add_row(*row)
    with console.capture() as capture:
        if title:
            console.print(Text(f"\n{title}", style="bold"))
        console.print(table)
    for line in capture.get().splitlines():
        print(line.rstrip())
