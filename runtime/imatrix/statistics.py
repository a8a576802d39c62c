"""What an importance matrix says about its model: which tensors' inputs are large, and in how few of their columns."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime import arguments
from subbyte.runtime.gguf.names import kind_of, layer_of
from subbyte.runtime.imatrix.imatrix import Imatrix
from subbyte.runtime.records import Record, Tabular

TOP = 0.01  # of the columns

By = Literal["tensor", "layer", "kind"]


@dataclass(frozen=True, slots=True)
class TensorStatistics(Record):
    """The inputs of one tensor, over the text. n_tokens: rows that were summed, of all experts together.

    n_matrices, n_reached: experts, and those that a token was sent to; 1 of a dense tensor. energy: sum over the
    columns, of experts reached, of the mean square. share: of the energy of all tensors. entropy: of the energy's
    distribution over columns, in parts of the most it can be: 1 where all are alike, 0 where one has all. top_share:
    part of the energy in the hundredth of columns that have most. similarity: cosine of the mean squares and those of
    the same tensor in the layer before that has it, over experts that both reached. None: there is nothing to tell.
    """

    name: str
    layer: int | None
    kind: str
    n_tokens: float
    n_matrices: int
    n_reached: int
    energy: float
    share: float
    entropy: float | None
    top_share: float | None
    similarity: float | None


@dataclass(frozen=True, slots=True)
class GroupStatistics(Record):
    """Tensors of a layer or a kind together: energies added, other figures as means that energy weighs.

    reached: the smallest part of the experts that any of the tensors reached.
    """

    group: str
    n_tensors: int
    energy: float
    share: float
    entropy: float | None
    top_share: float | None
    similarity: float | None
    reached: float


@dataclass(frozen=True)
class ImatrixStatistics(Tabular):
    """All tensors of an importance matrix, in the order of layers; datasets, chunk_count, chunk_size as in its file."""

    tensors: tuple[TensorStatistics, ...]
    datasets: tuple[str, ...]
    chunk_count: int
    chunk_size: int

    def records(self) -> list[dict[str, Any]]:
        """A tensor each."""
        return [tensor.to_dict() for tensor in self.tensors]

    def to_dict(self) -> dict[str, Any]:
        """All of it, fit for JSON: tensors, layers and kinds."""
        groups = {f"{by}s": [group.to_dict() for group in self.groups(by)] for by in ("layer", "kind")}
        own = {"datasets": list(self.datasets), "chunk_count": self.chunk_count, "chunk_size": self.chunk_size}
        return {**own, "tensors": self.records(), **groups}

    def groups(self, by: By) -> list[GroupStatistics]:
        """The tensors of each layer, or of each kind, in order; those outside of layers are the layer "-"."""
        found: defaultdict[str, list[TensorStatistics]] = defaultdict(list)
        for of in self.tensors:
            key = of.name if by == "tensor" else of.kind if by == "kind" else "-" if of.layer is None else str(of.layer)
            found[key].append(of)
        return [_group(key, of) for key, of in found.items()]


def imatrix_statistics(imatrix: str | os.PathLike[str] | Imatrix) -> ImatrixStatistics:
    """Energy, concentration, similarity between layers and reach of experts, of an importance matrix or its file.

    Raises FormatError, ModelNotFound, ResourceError.
    """
    if not isinstance(imatrix, Imatrix):
        imatrix = Imatrix.open(arguments.path("imatrix", imatrix, "an Imatrix or a path (str or os.PathLike)"))
    means = {name: _means(imatrix, name) for name in sorted(imatrix.squares, key=_order)}
    total = sum(float(of.sum()) for of in means.values()) or 1.0
    before: dict[str, NDArray[np.float64]] = {}
    tensors = []
    for name, mean in means.items():
        kind, counts = kind_of(name), imatrix.counts[name]
        reached, energy = counts > 0, float(mean.sum())
        entropy, top = _concentration(mean[reached].reshape(-1))
        tensors.append(
            TensorStatistics(
                name, layer_of(name), kind, float(counts.sum()), len(counts), int(reached.sum()), energy,
                energy / total, entropy, top, _similarity(mean, before.get(kind)),
            )
        )  # fmt: skip
        before[kind] = mean
    return ImatrixStatistics(tuple(tensors), imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size)


def _order(name: str) -> tuple[int, str]:
    layer = layer_of(name)
    return (-1 if layer is None else layer), name


def _means(imatrix: Imatrix, name: str) -> NDArray[np.float64]:
    """Mean squares, [matrices, row length]; 0 of experts that were not reached."""
    counts = imatrix.counts[name][:, None]
    means: NDArray[np.float64] = imatrix.squares[name] / np.where(counts > 0, counts, 1) * (counts > 0)
    return means


def _concentration(energies: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Entropy, and the part of the energy in the largest hundredth."""
    total = float(energies.sum())
    if not total:
        return None, None
    p = energies[energies > 0] / total
    entropy = float(-(p * np.log2(p)).sum()) / math.log2(len(energies)) if len(energies) > 1 else 1.0
    n_top = max(1, math.ceil(TOP * len(energies)))
    return max(entropy, 0.0), float(np.partition(energies, -n_top)[-n_top:].sum()) / total


def _similarity(a: NDArray[np.float64], b: NDArray[np.float64] | None) -> float | None:
    if b is None or a.shape != b.shape:
        return None
    both = ((a.sum(axis=1) > 0) & (b.sum(axis=1) > 0))[:, None]
    a, b = a * both, b * both
    size = math.sqrt(float((a * a).sum())) * math.sqrt(float((b * b).sum()))
    return float((a * b).sum()) / size if size else None


def _group(name: str, tensors: Sequence[TensorStatistics]) -> GroupStatistics:
    def mean(of: str) -> float | None:
        found = [(getattr(t, of), t.energy) for t in tensors if getattr(t, of) is not None]
        total = sum(energy for _, energy in found)
        return sum(value * energy for value, energy in found) / total if total else None

    return GroupStatistics(
        name, len(tensors), sum(t.energy for t in tensors), sum(t.share for t in tensors),
        mean("entropy"), mean("top_share"), mean("similarity"), min(t.n_reached / t.n_matrices for t in tensors),
    )  # fmt: skip
