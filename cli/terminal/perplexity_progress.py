"""Running values of a measurement: `[1]12.6138,[2]…` on stdout, and a bar with the time left on stderr.

Of several models only the bar shows them.
"""

import shutil
import sys
from types import TracebackType
from typing import TYPE_CHECKING

from subbyte.cli.terminal.console import rich_console, write_line

if TYPE_CHECKING:
    from rich.progress import Progress

    from subbyte.cli.terminal.plot import Plot
    from subbyte.runtime.evaluation.perplexity import ChunkResult


class PerplexityProgress:
    """Shows each chunk's result as it comes, if `values` on stdout, and a bar where stderr is a terminal.

    Where both go to a terminal the values come above the bar in whole lines; the bar shows the latest one itself.
    plot: drawn above the bar while it runs, and on stderr at the end, whatever that is.
    """

    def __init__(self, *, values: bool, plot: "Plot | None" = None) -> None:
        self._values = values
        self._plot = plot
        self._bar = _bar(plot) if sys.stderr.isatty() else None
        self._whole_lines = self._bar is not None and sys.stdout.isatty()
        self._line = ""  # waits to be a whole line
        self._written = False  # stdout stands behind a value

    def __enter__(self) -> "PerplexityProgress":
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task("", total=None, ppl="")
        return self

    def update(self, chunk: "ChunkResult") -> None:
        """Takes the result of one more chunk."""
        if self._bar is not None:
            task, ppl = self._bar.task_ids[0], ", ".join(f"{value:.4f}" for value in chunk.ppl)
            self._bar.update(task, completed=chunk.index, total=chunk.total, ppl=f"PPL {ppl}")
        if self._plot is not None:
            self._plot.add(chunk)
        if self._values and len(chunk.ppl) == 1:
            self._write(f"[{chunk.index}]{chunk.ppl[0]:.4f},")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._whole_lines:
            self._flush_line()
        if self._bar is not None:
            self._bar.stop()
        if self._written:
            write_line()
        if self._plot is not None:
            self._plot.print_last()

    def _write(self, value: str) -> None:
        if not self._whole_lines:
            sys.stdout.write(value)
            sys.stdout.flush()
            self._written = True
            return
        if len(self._line) + len(value) >= shutil.get_terminal_size().columns:
            self._flush_line()
        self._line += value

    def _flush_line(self) -> None:
        if self._bar is not None and self._line:
            self._bar.console.print(self._line, markup=False, highlight=False, soft_wrap=True)
            self._line = ""


def _bar(plot: "Plot | None") -> "Progress":
    from rich import progress

    return (progress.Progress if plot is None else plot.above_bar)(
        progress.TextColumn("chunk"), progress.MofNCompleteColumn(), progress.BarColumn(),
        progress.TextColumn("{task.fields[ppl]}"), progress.TimeElapsedColumn(),
        progress.TextColumn("left"), progress.TimeRemainingColumn(),
        console=rich_console(stderr=True), transient=True, refresh_per_second=4,
        redirect_stdout=False,  # else rich would send our stdout to stderr
    )  # fmt: skip
