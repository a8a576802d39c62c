"""Tables on stdout: fitted to a terminal, whole in a pipe."""

import sys
from collections.abc import Iterable, Sequence

from subbyte.cli.console import printable

PIPE_WIDTH = 1 << 16  # a pipe has no width: nothing is cut


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a title, the columns' headings (one that ends with > has its cells at the right) and the rows.

    Cells that don't fit a terminal are cut with an ellipsis.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for column in columns:
        heading = column.removesuffix(">")
        table.add_column(heading, justify="left" if heading == column else "right", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    with console.capture() as capture:
        if title:
            console.print(Text(f"\n{title}", style="bold"))
        console.print(table)
    for line in capture.get().splitlines():
        print(line.rstrip())
