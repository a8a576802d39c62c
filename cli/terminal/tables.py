"""Tables on stdout: fitted to a terminal, whole in a pipe."""

from typing import Literal

from subbyte.cli.terminal.console import rich_console, styled, write_styled
from subbyte.runtime.tables import Table
from subbyte.runtime.text import one_line, visible

GAP = 3  # columns of space


def fits(table: Table, last: int) -> bool:
    """Whether the terminal has room for a table whose last column is cut to `last` columns; a pipe always has."""
    widths = [
        max(styled(visible(cell)).cell_len for cell in cells) for cells in zip(table.columns, *table.rows, strict=True)
    ]
    widths[-1] = min(widths[-1], last)
    return sum(widths) + GAP * (len(widths) - 1) <= rich_console().width


def first_columns(table: Table) -> Table:
    """The table with as many columns, from the left, as the terminal has room for; all of them in a pipe."""
    width, used, n = rich_console().width, 0, 0
    for i, column in enumerate(table.columns):
        used += max(len(column), *(styled(visible(row[i])).cell_len for row in table.rows), 0) + GAP
        n += used - GAP <= width
    kept = slice(max(n, 1))
    return Table(table.title, table.columns[kept], [row[kept] for row in table.rows], table.right)


def print_table(table: Table) -> None:
    """Prints a table with its title.

    Where a terminal is too narrow, the last column is cut with an ellipsis, the others stay whole.
    """
    from rich import table as rich

    console = rich_console()
    grid = rich.Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    cells = [[styled(visible(cell)) for cell in row] for row in table.rows]
    left, used = console.width, 0
    for i, column in enumerate(table.columns):
        heading = visible(column)
        side: Literal["left", "right"] = "right" if i in table.right else "left"
        width = max([len(heading), *(row[i].cell_len for row in cells)])
        if i == len(table.columns) - 1:
            width = max(min(width, left), len(heading))
        left, used = left - width - GAP, used + width + GAP
        grid.add_column(heading, justify=side, no_wrap=True, overflow="ellipsis", width=width)
    console.width = max(console.width, used)  # else rich would cut the others, too
    for row in cells:
        grid.add_row(*row)
    write_styled(console, [*([styled(f"\n{one_line(table.title)}", "bold")] if table.title else []), grid])
