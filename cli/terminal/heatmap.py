"""`subbyte inspect --heatmap` in the terminal: a line for each layer, a coloured cell for each of its matrices."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from subbyte.cli.terminal.console import human_count, human_size, rich_console, styled, write_styled
from subbyte.runtime.tables import Table
from subbyte.runtime.text import spelt_out

if TYPE_CHECKING:
    from rich.text import Text

    from subbyte.runtime.inspect.heatmap import By, Cell, Heatmap

ABSENT = "-"


def print_grid(heatmap: "Heatmap", by: "By") -> None:
    """Prints the grid, split into blocks of columns where the terminal is narrow.

    A cell's text says what its colour does, for where there are none.
    """
    console = rich_console()
    outside = [
        styled("").append_text(_cell(cell, by, len(cell.text(by)))).append_text(styled(f" {cell.kind}"))
        for cell in heatmap.outside
    ]
    write_styled(console, [*_grid(heatmap, by, console.width), *([styled("")] if outside else []), *outside])


def _grid(heatmap: "Heatmap", by: "By", width: int) -> "Iterator[Text]":
    rows = heatmap.rows()
    margin = max(len("layer"), len(str(heatmap.n_layer)))
    heads = [spelt_out(kind).rpartition("_")[::2] for kind in heatmap.kinds]  # in two lines, to be narrow
    texts = [[cell.text(by) if cell else ABSENT for cell in column] for column in zip(*rows, strict=True)]
    widths = [max(map(len, (*head, *column))) for head, column in zip(heads, texts, strict=True)]
    for number, columns in enumerate(_blocks(widths, width - margin)):
        if number:
            yield styled("")
        for upper, label in ((True, "layer"), (False, "")):
            names = (f"{heads[i][0 if upper else 1]:>{widths[i]}}" for i in columns)
            yield styled(" ".join((f"{label:>{margin}}", *names)), "dim")
        for layer, row in enumerate(rows):
            line = styled(f"{layer:>{margin}}")
            for i in columns:
                line.append(" ").append_text(_cell(row[i], by, widths[i]))
            yield line


def _blocks(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """The columns in groups that fit into so many characters, each with a space before it."""
    block: list[int] = []
    used = 0
    for i, width in enumerate(widths):
        if block and used + 1 + width > room:
            yield block
            block, used = [], 0
        block.append(i)
        used += 1 + width
    if block:
        yield block


def _cell(cell: "Cell | None", by: "By", width: int) -> "Text":
    from subbyte.runtime.inspect.heatmap import colour, ink

    if cell is None:
        return styled(f"{ABSENT:>{width}}", "dim")
    ground = colour(cell, by)
    return styled(f"{cell.text(by):>{width}}", f"{ink(ground)} on {ground}")


def shares_table(heatmap: "Heatmap") -> Table:
    """The sizes of all kinds of tensor."""
    rows = [
        (
            share.kind, str(share.n_tensors), human_count(share.n_weights), human_size(share.n_bytes),
            "" if share.bits is None else f"{share.bits:.2f}",
            f"{share.n_bytes / max(heatmap.whole.n_bytes, 1):.1%}", " ".join(share.types),
        )
        for share in (*heatmap.shares, heatmap.whole)
    ]  # fmt: skip
    return Table.of("sizes", ("kind", "tensors>", "weights>", "size>", "bits/weight>", "share>", "types"), rows)
