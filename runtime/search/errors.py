"""The error that encoding a matrix makes in what it is multiplied with, estimated from some of its rows.

Of weights W, their error D and the mean squares h of the columns of W's inputs it is sum_j h_j |D_j|^2 out of
sum_j h_j |W_j|^2: the part of the product's energy that is lost, if columns are not correlated. To second order the
divergence it causes grows with it, so of one matrix it tells types apart that were never measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from subbyte.kernels import dequantize
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.quantize.encode import Encoder, Weights
from subbyte.runtime.search.groups import Group

SAMPLED = 1 << 14  # weights of a matrix, at least: enough for a few percent
MIN_ROWS = 16


def relative_errors(group: Group, types: Iterable[str], encoder: Encoder) -> dict[str, float]:
    """The error by type, 0 where nothing is lost. The same for the same tensor, importances and types."""
    tensor, importances = _sample(group.tensor, group.importances)
    row = tensor.shape[0]
    exact = dequantize(tensor.data, tensor.type).reshape(-1, row)
    h = np.ones((1, row), np.float32) if importances is None else importances
    each = len(exact) // len(h)
    weights = np.repeat(h.astype(np.float64), each, axis=0)
    energy = float((weights * exact.astype(np.float64) ** 2).sum()) or 1.0
    errors = {}
    for type in types:
        coded = dequantize(b"".join(encoder.encode(tensor, type, importances)), type).reshape(-1, row)
        errors[type] = float((weights * (coded.astype(np.float64) - exact) ** 2).sum()) / energy
    return errors


def frontier(group: Group, errors: Mapping[str, float]) -> list[str]:
    """The types worth taking, few bytes first: each loses less than all that are not larger."""
    kept: list[str] = []
    for type, _ in sorted(group.n_bytes.items(), key=lambda item: (item[1], errors[item[0]])):
        if not kept or errors[type] < errors[kept[-1]]:
            kept.append(type)
    return kept


def _sample(tensor: TensorInfo, importances: Weights | None) -> tuple[TensorInfo, Weights | None]:
    """Rows at even distances as a tensor of their own, of experts some of each of some, with their importances."""
    row, n_rows, n_expert = tensor.shape[0], tensor.shape[1], math.prod(tensor.shape[2:])
    wanted = max(MIN_ROWS, -(-SAMPLED // row))
    experts = _even(n_expert, max(1, wanted // MIN_ROWS))
    rows = _even(n_rows, -(-wanted // len(experts)))
    row_bytes = tensor.n_bytes // (n_rows * n_expert)
    starts = [(expert * n_rows + i) * row_bytes for expert in experts for i in rows]
    data = b"".join(tensor.data[at : at + row_bytes] for at in starts)
    shape = (row, len(rows), len(experts))
    sample = replace(tensor, shape=shape, n_bytes=len(data), data=memoryview(data))
    return sample, None if importances is None else importances[experts]


def _even(n: int, wanted: int) -> list[int]:
    """At most so many of n indices, at even distances."""
    taken = min(n, wanted)
    return [(2 * i + 1) * n // (2 * taken) for i in range(taken)]
