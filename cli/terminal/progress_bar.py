"""A bar on stderr for work of known length: what is done now, how far it is, the time left."""

import sys
from types import TracebackType

from subbyte.cli.terminal.console import rich_console
from subbyte.runtime.text import one_line


class ProgressBar:
    """`with ProgressBar() as bar: work(on_progress=bar.update)`. Where stderr is no terminal, nothing is shown."""

    def __init__(self) -> None:
        self._bar = None
        if sys.stderr.isatty():
            from rich import progress

            self._bar = progress.Progress(
                progress.BarColumn(), progress.TaskProgressColumn(), progress.TimeRemainingColumn(),
                progress.TextColumn("{task.description}", markup=False),
                console=rich_console(stderr=True), transient=True, refresh_per_second=4,
                redirect_stdout=False,  # else rich would send our stdout to stderr
            )  # fmt: skip

    def __enter__(self) -> "ProgressBar":
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task("")
        return self

    def update(self, what: str, done: int, total: int) -> None:
        """Tells what is done next, and how many steps are behind."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=one_line(what), completed=done, total=total)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
