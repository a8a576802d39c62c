"""Several importance matrices as one: what was collected on other machines, or over further texts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from subbyte.errors import ModelRefused, NumericError
from subbyte.runtime import arguments
from subbyte.runtime.imatrix.imatrix import Imatrix, Sums
from subbyte.runtime.imatrix.sources import checked_weights
from subbyte.runtime.text import printable, quoted

_MAX_F32 = float(np.finfo(np.float32).max)


def merge_imatrices(matrices: Sequence[str | os.PathLike[str] | Imatrix], *, weights: Sequence[float] = ()) -> Imatrix:
    """The importance matrix of all that several ones were collected over: sums are added, and counts.

    matrices: at least one. weights: what each of them counts, a token of it as so many; default: 1 each. A tensor that
    some do not have is taken from the others. Raises ModelRefused for matrices of another model, and for the older
    format, whose counts are no tokens, beside the newer; NumericError, FormatError, ModelNotFound, ResourceError.
    """
    given = arguments.items("matrices", matrices, "a list of importance matrices or their paths")
    if not given:
        raise ValueError("matrices is empty; give at least one importance matrix")
    factors = checked_weights(weights) or (1.0,) * len(given)
    if len(factors) != len(given):
        raise ValueError(f"weights are {len(factors)}, importance matrices {len(given)}; give one each")
    names, opened = zip(*(_open(i, each) for i, each in enumerate(given)), strict=True)
    _check(names, opened)
    squares, counts = (_add([getattr(of, what) for of in opened], factors) for what in ("squares", "counts"))
    if any(float(values.max()) > _MAX_F32 for values in squares.values()):
        raise NumericError("the sums are too large for the file's float32; give smaller weights")
    complete = [name for name in squares if all(name in of.sums for of in opened if name in of.squares)]
    sums = _add([{name: of.sums[name] for name in complete if name in of.sums} for of in opened], factors)
    size = opened[0].chunk_size
    n_tokens = sum(of.chunk_count * of.chunk_size for of in opened)
    return Imatrix(
        squares=squares, counts=counts, sums=sums,
        datasets=tuple(dict.fromkeys(name for of in opened for name in of.datasets)),
        chunk_count=round(n_tokens / size) if size else sum(of.chunk_count for of in opened), chunk_size=size,
    )  # fmt: skip


def _open(i: int, matrix: str | os.PathLike[str] | Imatrix) -> tuple[str, Imatrix]:
    if isinstance(matrix, Imatrix):
        return f"matrices[{i}]", matrix
    path = arguments.path(f"matrices[{i}]", matrix, "an Imatrix or a path (str or os.PathLike)")
    return printable(path), Imatrix.open(path)


def _check(names: Sequence[str], opened: Sequence[Imatrix]) -> None:
    """Refuses what can't be added up."""
    if len({of.chunk_size > 0 for of in opened}) > 1:
        old = names[[of.chunk_size > 0 for of in opened].index(False)]
        raise ModelRefused(f"{old}: counts no tokens, as files of the older format; merge it with such ones only")
    first: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, of in zip(names, opened, strict=True):
        for tensor, values in of.squares.items():
            where, shape = first.setdefault(tensor, (name, values.shape))
            if shape != values.shape:
                sizes = f"{' x '.join(map(str, values.shape))} values, in {where} it has {' x '.join(map(str, shape))}"
                raise ModelRefused(f"{name}: {quoted(tensor)} has {sizes}; it was made from another model")


def _add(of_each: Sequence[Mapping[str, Sums]], factors: Sequence[float]) -> dict[str, Sums]:
    total: dict[str, Sums] = {}
    for values, factor in zip(of_each, factors, strict=True):
        for name, array in values.items():
            total[name] = total.get(name, 0) + factor * array
    return total
