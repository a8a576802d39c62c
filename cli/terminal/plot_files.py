"""`--plot` of what was measured: asked before the work of hours whether it can be written, and written after it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from subbyte.cli.terminal.status_line import StatusLine
from subbyte.runtime.text import printable


class Plotted(Protocol):
    """A result that draws itself."""

    def save_plot(self, path: Path, *, overwrite: bool) -> None:
        """Writes the picture."""


def check_plots(plots: Sequence[Path], overwrite: bool) -> None:
    """Raises what writing them would raise, as far as that is known before."""
    if plots:
        from subbyte.runtime.pictures.picture import check_plot

        for plot in plots:
            check_plot(plot, overwrite=overwrite)


def save_plots(result: Plotted, plots: Sequence[Path], overwrite: bool) -> None:
    """Writes the picture to each of the files, with a line on a terminal's stderr meanwhile: some take seconds."""
    line = StatusLine(sys.stderr)
    try:
        for plot in plots:
            line.write(f"drawing {printable(str(plot))}")
            result.save_plot(plot, overwrite=overwrite)
    finally:
        line.clear()
