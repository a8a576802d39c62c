"""The file of a model that a public function reads without loading it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeAlias

from subbyte.errors import memory_errors
from subbyte.runtime import arguments
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.store.resolve import resolve


class Loaded(Protocol):
    """What has an open file: a `Model`."""

    @property
    def gguf(self) -> GGUF: ...


Source: TypeAlias = str | os.PathLike[str] | GGUF | Loaded
"""A path or a name, as `load` takes it; or a `GGUF` or a `Model`, whose open file it is."""


@contextmanager
def open_source(name: str, source: Source) -> Iterator[GGUF]:
    """The file that an argument gives. One that is opened for it is closed behind; raises what `GGUF.open` raises."""
    found = source if isinstance(source, GGUF) else getattr(source, "gguf", None)
    if isinstance(found, GGUF):
        with memory_errors("go through the file"):
            yield found
        return
    path = arguments.path(name, source, "a path or a model's name (str or os.PathLike), a Model or a GGUF")
    with memory_errors("go through the file"), GGUF.open(resolve(path)) as gguf:
        yield gguf
