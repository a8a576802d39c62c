"""From the MODEL a user typed to an open model; a download shows its progress."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subbyte.runtime.model import Model


def open_model(name: str, threads: int | None = None, n_ctx: int | None = None, *, verbose: bool = False) -> "Model":
    """Finds the model, fetching it when needed, and loads it."""
    from subbyte.runtime.model import load

    return load(find_model(name, verbose=verbose), threads=threads, n_ctx=n_ctx)


def find_model(name: str, *, verbose: bool = False) -> Path:
    """The file of a model; fetched first when it is not there yet."""
    from subbyte.runtime import store

    if not (verbose or sys.stderr.isatty()):
        return store.resolve(name)
    with _download_bar(name) as progress:
        return store.resolve(name, progress=progress)


@contextmanager
def _download_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """Yields a function that takes bytes done and bytes in all, and draws a bar on stderr from its first call on."""
    ...
