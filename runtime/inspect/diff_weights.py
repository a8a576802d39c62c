"""Bytes and weights of two files' tensors side by side, read in pieces: memory does not grow with the files."""

from __future__ import annotations

import math
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from subbyte.kernels import FORMATS, dequantize
from subbyte.runtime.gguf.identical import same_bytes
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.machine import default_threads
from subbyte.runtime.records import Record
from subbyte.runtime.types import StepProgress

PIECE = 1 << 16  # weights, a whole number of any format's blocks; the numbers of one stay in a core's cache
CHUNK = 1 << 24  # bytes between two reports of progress


@dataclass(frozen=True, slots=True)
class WeightError(Record):
    """How far a tensor's weights in b are from those in a.

    rms: root of the mean square of a's weights; rms_error: of the differences
    relative: rms_error / rms; 0 for equal weights, inf where all of a's are 0
    """

    tensor: str
    type_a: str
    type_b: str
    n_weights: int
    rms: float
    rms_error: float
    relative: float


def differing(a: GGUF, b: GGUF, on_progress: StepProgress | None) -> frozenset[str]:
    """Names of the tensors of the same type and shape in both whose bytes differ somewhere."""
    shared = [(t, b.tensors[t.name]) for t in a.tensors.values() if t.name in b.tensors]
    alike = [(x, y) for x, y in shared if (x.type, x.shape) == (y.type, y.shape)]
    report = _Report("comparing bytes", sum(x.n_bytes for x, _ in alike), on_progress)
    return frozenset(x.name for x, y in alike if not _same(a, b, x, y, report))


def _same(a: GGUF, b: GGUF, x: TensorInfo, y: TensorInfo, report: _Report) -> bool:
    for start in range(0, x.n_bytes, CHUNK):
        a.check_unchanged()
        b.check_unchanged()
        if not same_bytes(x.data[start : start + CHUNK], y.data[start : start + CHUNK]):
            report.add(x.n_bytes - start)
            return False
        report.add(min(CHUNK, x.n_bytes - start))
    return True


def weight_errors(
    a: GGUF, b: GGUF, other_bytes: Collection[str], on_progress: StepProgress | None
) -> tuple[WeightError, ...]:
    """The errors of the tensors of the same shape that differ; those of a type that subbyte can't decode are left out.

    Pieces are decoded in as many threads as the machine has for us, and summed up in the order of the file: the result
    is the same whatever their number.
    """
    shared = [(t, b.tensors[t.name]) for t in a.tensors.values() if t.name in b.tensors]
    wanted = [
        (x, y)
        for x, y in shared
        if x.shape == y.shape and (x.type != y.type or x.name in other_bytes) and {x.type, y.type} <= FORMATS.keys()
    ]
    report = _Report("measuring weights", sum(x.n_bytes + y.n_bytes for x, y in wanted), on_progress)
    pool = ThreadPoolExecutor(default_threads()[0])
    try:
        return tuple(_error(a, b, x, y, pool, report) for x, y in wanted)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C nothing more is begun


def _error(a: GGUF, b: GGUF, x: TensorInfo, y: TensorInfo, pool: ThreadPoolExecutor, report: _Report) -> WeightError:
    a.check_unchanged()
    b.check_unchanged()
    squares = errors = 0.0
    starts = range(0, x.n_weights, PIECE)
    for start, (square, error) in zip(starts, pool.map(lambda start: _squares(x, y, start), starts), strict=True):
        squares, errors = squares + square, errors + error
        report.add(sum(len(_piece(tensor, start)) for tensor in (x, y)))
    rms, rms_error = math.sqrt(squares / x.n_weights), math.sqrt(errors / x.n_weights)
    return WeightError(x.name, x.type, y.type, x.n_weights, rms, rms_error, ratio(rms_error, rms))


def _squares(x: TensorInfo, y: TensorInfo, start: int) -> tuple[float, float]:
    """Sums of the squares of a piece of x, and of its differences from y."""
    with np.errstate(all="ignore"):  # a hostile file's weights may be anything; the result says so
        left, right = (dequantize(_piece(of, start), of.type).astype(np.float64) for of in (x, y))
        return float((left * left).sum()), float(((right - left) ** 2).sum())


def _piece(tensor: TensorInfo, start: int) -> memoryview:
    """The bytes of PIECE weights, or of what is left."""
    format = FORMATS[tensor.type]
    first, last = (n // format.block_size * format.block_bytes for n in (start, start + PIECE))
    return tensor.data[first:last]


def ratio(error: float, size: float) -> float:
    """error / size, also where size is 0."""
    if size == 0:
        return math.inf if error else 0.0
    return error / size


class _Report:
    """Counts bytes that were read."""

    def __init__(self, what: str, total: int, on_progress: StepProgress | None) -> None:
        self._what, self._total, self._on_progress, self._done = what, total, on_progress, 0

    def add(self, n_bytes: int) -> None:
        self._done += n_bytes
        if self._on_progress is not None:
            self._on_progress(self._what, self._done, self._total)
