"""Tables on stdout: fitted to a terminal, whole in a pipe."""

import sys
from collections.abc import Iterable, Sequence
from typing import Literal

from subbyte.cli.console import printable

Columns = Sequence[tuple[str, Literal["left", "right"]]]

PIPE_WIDTH = 1 << 16  # a pipe has no width: nothing is cut


def print_table(title: str, columns: Columns, rows: Iterable[Sequence[str]]) -> None:
    """Prints a title, the columns' headings and the rows; cells that don't fit a terminal are cut with an ellipsis."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for heading, side in columns:
        table.add_column(heading, justify=side, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, emoji=False)
    console.print(Text(f"\n{title}", style="bold"))
    console.print(table)
