"""The rows of a terminal that are still being written: only those that changed are drawn again."""

import os
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from subbyte.cli.terminal.columns import cells
from subbyte.cli.terminal.console import terminal_width
from subbyte.cli.terminal.interrupt import later_interrupt

DEFAULT_ROWS = 24  # where a terminal was told no size


class Row(NamedTuple):
    """A row of text, and the same as it is written, with escape sequences; a long one takes several of the screen."""

    plain: str
    written: str


class Painter:
    """Draws rows at the end of what a terminal shows; the cursor waits behind the last one.

    What has scrolled out of sight is never rewritten: where it would have to differ, the rows are written once more,
    from the first that differs.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._rows: list[Row] = []
        self._within = False  # whether the cursor is behind a row
        self.width, self.height = terminal_size(out)

    @property
    def shown(self) -> list[Row]:
        """The rows that are drawn and not finished."""
        return self._rows

    def resized(self) -> bool:
        """Whether the terminal got another width since it was asked last: where rows are now is not known then."""
        before = self.width
        self.width, self.height = terminal_size(self._out)
        return self.width != before

    def paint(self, rows: Sequence[Row], n_finished: int = 0) -> None:
        """Shows these rows in place of those before; the first `n_finished` of them stay for good."""
        if (new := list(rows)) != self._rows or n_finished:
            with later_interrupt():
                self._out.write(self._changes(new))
                self._out.flush()
                self._within = bool(new) or (self._within and not self._rows)
                self._rows = new[n_finished:]

    def finish(self, n_rows: int) -> None:
        """Lets the first rows stay as they are for good."""
        self._rows = self._rows[n_rows:]

    def end(self) -> None:
        """Leaves the rows as they are, and the cursor below them."""
        if self._within:
            with later_interrupt():
                self._out.write("\n")
                self._out.flush()
                self._rows, self._within = [], False

    def _changes(self, new: list[Row]) -> str:
        old = self._rows
        same = self._n_same(new)
        if same == len(new) < len(old):  # the cursor goes behind the last row that stays
            same = max(same - 1, 0)
        if same == len(old):  # all of it stays
            return ("\n" if self._within and new[same:] else "") + _joined(new[same:])
        last = new[same] if same < len(new) else Row("", "")
        if same == len(old) - 1 and last.written.startswith(old[same].written):  # the last one has grown
            return last.written[len(old[same].written) :] + ("\n" if new[same + 1 :] else "") + _joined(new[same + 1 :])
        up = sum(map(self._n_lines, old[same:])) - 1
        if up >= self.height:  # out of sight
            return "\n" + _joined(new[same:])
        return (f"\x1b[{up}A" if up else "") + "\r\x1b[J" + _joined(new[same:])

    def _n_same(self, new: list[Row]) -> int:
        """How many rows at the beginning stay: those that are equal, and out of sight those of equal text."""
        hidden, lines = len(self._rows), 0
        while hidden and lines + self._n_lines(self._rows[hidden - 1]) <= self.height:
            hidden -= 1
            lines += self._n_lines(self._rows[hidden])
        for i, (a, b) in enumerate(zip(self._rows, new, strict=False)):
            if a.plain != b.plain or (i >= hidden and a.written != b.written):
                return i
        return min(len(self._rows), len(new))

    def _n_lines(self, row: Row) -> int:
        """Lines of the screen that a row takes."""
        return max(1, -(-cells(row.plain) // max(self.width, 1)))


def _joined(rows: Sequence[Row]) -> str:
    return "\n".join(row.written for row in rows)


def terminal_size(out: TextIO) -> tuple[int, int]:
    """Columns and rows of the terminal behind a stream."""
    try:
        rows = os.get_terminal_size(out.fileno()).lines
    except (OSError, ValueError):
        rows = 0
    return terminal_width(out), rows or DEFAULT_ROWS
