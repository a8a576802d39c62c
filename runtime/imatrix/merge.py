"""Several importance matrices as one: what was collected on other machines, or over further texts."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from subbyte.errors import ModelRefused, NumericError
from subbyte.runtime import arguments
from subbyte.runtime.imatrix.imatrix import Imatrix, Sums
from subbyte.runtime.imatrix.weights import checked_weights
from subbyte.runtime.text import printable, quoted

_MAX_F32 = float(np.finfo(np.float32).max)
MAX_CHUNKS = 2**32 - 1  # that a file can say


def merge_imatrices(matrices: Sequence[str | os.PathLike[str] | Imatrix], *, weights: Sequence[float] = ()) -> Imatrix:
    """The importance matrix of all that several ones were collected over: sums are added, and counts.

    matrices: at least one; of paths, one is in memory at a time. weights: what each of them counts, a token of it as so
    many, from 1e-6 to 1e6; default: 1 each. A tensor that some do not have is taken from the others. Raises
    ModelRefused for matrices of another model, and for the older format, whose counts are no tokens, beside the newer;
    NumericError, FormatError, ModelNotFound, ResourceError.
    """
    given = arguments.items("matrices", matrices, "a list of importance matrices or their paths")
    if not given:
        raise ValueError("matrices is empty; give at least one importance matrix")
    factors = checked_weights(weights) or (1.0,) * len(given)
    if len(factors) != len(given):
        raise ValueError(f"weights are {len(factors)}, importance matrices {len(given)}; give one each")
    total = _Total()
    for i, (each, factor) in enumerate(zip(given, factors, strict=True)):
        total.add(*_open(i, each), factor)
    return total.result()


def _open(i: int, matrix: str | os.PathLike[str] | Imatrix) -> tuple[str, Imatrix]:
    if isinstance(matrix, Imatrix):
        return f"matrices[{i}]", matrix
    path = arguments.path(f"matrices[{i}]", matrix, "an Imatrix or a path (str or os.PathLike)")
    return printable(path), Imatrix.open(path)


class _Total:
    """What has been added so far."""

    def __init__(self) -> None:
        self._squares: dict[str, Sums] = {}
        self._counts: dict[str, Sums] = {}
        self._sums: dict[str, Sums] = {}
        self._without_sums: set[str] = set()
        self._first: dict[str, str] = {}  # of each tensor, the matrix that had it
        self._datasets: dict[str, None] = {}
        self._sizes: list[tuple[int, int]] = []

    def add(self, name: str, matrix: Imatrix, factor: float) -> None:
        """Adds a matrix, named as messages name it."""
        if self._sizes and (self._sizes[0][1] > 0) != (matrix.chunk_size > 0):
            odd = "counts no tokens, as files of the older format" if not matrix.chunk_size else "counts tokens"
            raise ModelRefused(f"{name}: {odd}, unlike those before it; merge files of one format")
        for tensor, squares in matrix.squares.items():
            before = self._squares.get(tensor)
            if before is not None and before.shape != squares.shape:
                sizes = [" x ".join(map(str, of.shape)) for of in (squares, before)]
                found = f"{quoted(tensor)} has {sizes[0]} values, in {self._first[tensor]} it has {sizes[1]}"
                raise ModelRefused(f"{name}: {found}; it was made from another model")
            self._first.setdefault(tensor, name)
            self._squares[tensor] = factor * squares + (0 if before is None else before)
            self._counts[tensor] = factor * matrix.counts[tensor] + self._counts.get(tensor, 0)
            if tensor in matrix.sums:
                self._sums[tensor] = factor * matrix.sums[tensor] + self._sums.get(tensor, 0)
            else:
                self._without_sums.add(tensor)
        self._datasets |= dict.fromkeys(matrix.datasets)
        self._sizes.append((matrix.chunk_count, matrix.chunk_size))

    def result(self) -> Imatrix:
        """The matrix of all; chunks are counted in the size that the first one's have."""
        if any(float(values.max()) > _MAX_F32 for values in self._squares.values()):
            raise NumericError("the sums are too large for the file's float32; give smaller weights")
        size = self._sizes[0][1]
        n_chunks = sum(n * of for n, of in self._sizes) / size if size else sum(n for n, _ in self._sizes)
        return Imatrix(
            squares=self._squares, counts=self._counts,
            sums={tensor: of for tensor, of in self._sums.items() if tensor not in self._without_sums},
            datasets=tuple(self._datasets), chunk_count=min(round(n_chunks), MAX_CHUNKS), chunk_size=size,
        )  # fmt: skip
