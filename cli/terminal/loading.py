"""From the MODEL a user typed to an open model; a download shows its progress."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli.options import OVERRIDES, usage_errors
from subbyte.cli.terminal.console import note, rich_console, show_log
from subbyte.cli.terminal.interrupt import one_interrupt
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from rich.progress import Progress

    from subbyte.runtime.distributed.on_ray import RayWorkers
    from subbyte.runtime.model import Draft, Model


def open_model(name: str, threads: int | None = None, *, verbose: bool = False) -> "Model":
    """Finds the model, fetching it when needed, and loads it, with the metadata of --override-kv."""
    from subbyte.runtime.loading import load

    path = find_model(name, verbose=verbose)
    with usage_errors():
        return load(path, threads=threads, override_kv=click.get_current_context().meta.get(OVERRIDES))


@contextmanager
def open_draft(draft: str, threads: int | None = None, *, verbose: bool = False) -> "Iterator[Draft]":
    """What --draft names, as `Model.chat` takes it; a model is open within."""
    if draft == "lookup":
        yield "lookup"
    elif draft == "off":
        yield None
    else:
        with open_model(draft, threads, verbose=verbose) as model:
            yield model


@contextmanager
def open_workers(ray: str | None, threads: int | None, *, verbose: bool = False) -> "Iterator[RayWorkers | None]":
    """What --ray names, as measurements take it, connected within; None without that option."""
    if ray is None:
        yield None
        return
    from subbyte.runtime.distributed.on_ray import RayWorkers

    with RayWorkers(ray or None, threads=threads, verbose=verbose) as workers:
        note(f"{workers.n_workers} workers of {workers.threads} CPUs", verbose=verbose)
        yield workers


def find_model(name: str, *, verbose: bool = False) -> Path:
    """The file of a model; fetched first when it is not there yet."""
    from subbyte.runtime.store.resolve import resolve

    show_log(verbose)
    with one_interrupt():  # a second Ctrl-C must not leave half a file behind
        if not sys.stderr.isatty():
            path = resolve(name)
        else:
            with _download_bar(name) as on_progress:
                path = resolve(name, on_progress=on_progress)
    if verbose:
        note(f"model file {path}", verbose=True)
    return path


@contextmanager
def _download_bar(name: str) -> "Iterator[Callable[[int, int], None]]":
    """Gives a function that takes bytes done and bytes in all, and draws a bar on stderr from its first call on."""
    bar: Progress | None = None

    def on_progress(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:  # rich is slow to import: only when there is something to show
            bar = _new_bar()
            bar.add_task(one_line(name), total=total or None)
            bar.start()
        bar.update(bar.task_ids[0], completed=done, total=total or None)

    try:
        yield on_progress
    finally:
        if bar is not None:
            bar.stop()


def _new_bar() -> "Progress":
    from rich import progress

    return progress.Progress(
        progress.TextColumn("downloading {task.description}", markup=False), progress.BarColumn(),
        progress.DownloadColumn(), progress.TransferSpeedColumn(), progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        console=rich_console(stderr=True), refresh_per_second=4, redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip
