"""Functions over rows: callables for Ray Data's `map_batches` and Dask's `map_partitions`, one model in each process.

Each takes a batch of rows by columns and gives it back with further columns. A program makes one without loading
anything, and it can be pickled; the model is loaded where the rows are.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from subbyte.errors import ModelChanged, SubbyteError
from subbyte.kernels import MAX_THREADS
from subbyte.runtime import arguments
from subbyte.runtime.distributed.columns import Batch, Column, with_columns
from subbyte.runtime.distributed.loaded import Settings
from subbyte.runtime.types import Activations, CacheType, SessionOptions

R = TypeVar("R")


class RowFunction(ABC, Generic[R]):
    """A function over rows; R is what it finds for one."""

    def __init__(
        self,
        model: str | os.PathLike[str],
        output: str,
        error: str | None,
        *,
        threads: int | None = None,
        n_parallel: int = 1,
        n_ctx: int | None = None,
        cache_type: CacheType = "f16",
        activations: Activations | None = None,
    ) -> None:
        name = arguments.path("model", model, arguments.PATH)
        if threads is not None and not 1 <= arguments.whole("threads", threads) <= MAX_THREADS:
            raise ValueError(f"{threads} threads; allowed are 1 to {MAX_THREADS}, or None for those granted")
        SessionOptions(n_ctx, cache_type, "int8" if activations is None else activations)  # which checks them
        self._settings = Settings(
            os.path.abspath(name) if os.path.exists(name) else name, threads,
            arguments.whole("n_parallel", n_parallel, 1), n_ctx, cache_type, activations,
        )  # fmt: skip
        self._output = arguments.text("output", output)
        self._error = None if error is None else arguments.text("error", error)

    def __call__(self, batch: Batch) -> Batch:
        """The batch with the further columns. Raises what keeps the model from being used at all."""
        found = self._find(batch)
        errors = [str(each) if isinstance(each, Exception) else None for each in found]
        columns = dict(self._columns([None if isinstance(each, Exception) else each for each in found]))
        if self._error is not None:
            columns[self._error] = errors
        else:
            for i, each in enumerate(found):
                if isinstance(each, Exception):
                    raise SubbyteError(f"row {i} of a batch: {each}; error= names a column for that") from each
        return with_columns(batch, columns)

    @abstractmethod
    def _find(self, batch: Batch) -> Sequence[R | Exception]:
        """What is found for each row, or the error that kept it from being found."""

    @abstractmethod
    def _columns(self, found: Sequence[R | None]) -> Mapping[str, Column]:
        """The further columns; None: of a row with an error."""

    def _name(self, part: str) -> str:
        return f"{self._output}_{part}"


def attempt(find: Callable[..., R], *row: Any, **options: Any) -> R | Exception:
    """What is found for a row, or the error. Raises ModelChanged, after which there is nothing to find any more."""
    try:
        return find(*row, **options)
    except ModelChanged:
        raise
    except (SubbyteError, ValueError, TypeError) as error:
        return error
