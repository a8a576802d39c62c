"""Importance matrices: how large the inputs of each matrix are, column by column, which is what quantizers weigh by.

The algorithm is llama-imatrix's: chunks as for perplexity, and of all their rows the squares of each column summed.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import NumericError
from subbyte.runtime import arguments
from subbyte.runtime.evaluation.checkpoint import Checkpoint, Figures, conditions_of
from subbyte.runtime.evaluation.corpus import N_CTX, Chunk, cut_whole, read_corpora
from subbyte.runtime.evaluation.forward import Forward, Input, Values
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.texts import EvalTexts, named_texts
from subbyte.runtime.imatrix.expert_use import never_chosen
from subbyte.runtime.imatrix.imatrix import Imatrix, Sums
from subbyte.runtime.imatrix.weights import checked_weights
from subbyte.runtime.loading import Models, as_model
from subbyte.runtime.measurement import Measurement, Step
from subbyte.runtime.types import Activations, CacheType, Progress

_log = logging.getLogger(__name__)
_MAX_COUNT = 1 << 53  # rows and chunks; above, float64 can't count by one


class _Totals(NamedTuple):
    """Over whole chunks, by tensor: sums of squares and sums of the inputs' columns, and how many rows they are of.

    squares, sums: [matrices, row length], counts: [matrices]; of experts each is a matrix.
    """

    squares: Mapping[str, Sums]
    sums: Mapping[str, Sums]
    counts: Mapping[str, Sums]
    n_chunks: int


class ImatrixMeasurement(Measurement[Step, Imatrix]):
    """An importance matrix, a chunk at a time; arguments and errors are those of `imatrix`."""

    def __init__(
        self,
        model: Models,
        text: EvalTexts,
        options: EvalOptions,
        *,
        weights: Sequence[float] = (),
        process_output: bool = False,
        datasets: Sequence[str] = (),
        resume: str | os.PathLike[str] | None = None,
    ) -> None:
        self._options, self._process_output = options, arguments.flag("process_output", process_output)
        arguments.instance("options", options, EvalOptions)
        datasets = arguments.strings("datasets", datasets)
        resume = arguments.optional_path("resume", resume)
        texts, weights = named_texts("text", text), checked_weights(weights)
        if weights and len(weights) != len(texts):
            raise ValueError(f"weights are {len(weights)}, texts {len(texts)}; give one each")
        with ExitStack() as stack:
            self._model = as_model("model", model, stack)
            (self._corpus,) = read_corpora([self._model], texts, options, cut=cut_whole)
            self._opened = stack.pop_all()
        self._datasets = datasets or (f"sha256:{self._corpus.sha256}",)
        self._weights = weights or (1.0,) * len(texts)
        self._totals = _Totals({}, {}, {}, 0)
        self._checkpoint = None if resume is None else self._open_checkpoint(resume)

    def __iter__(self) -> Iterator[Step]:
        forward = self._options.forward(self._model, self._corpus.n_ctx)
        left = range(self.n_done, self.n_total)
        for i in left:
            chunk = self._corpus.chunks[i]
            totals = self._with_chunk(forward, chunk, self._weights[chunk.domain])
            if self._checkpoint is not None:
                self._checkpoint.replace(self._to_record(totals))
            self._totals = totals
            yield Step(f"chunk {self.n_done} of {self.n_total}", self.n_done, self.n_total)

    def close(self) -> None:
        self._opened.close()

    @property
    def n_done(self) -> int:
        return self._totals.n_chunks

    @property
    def n_total(self) -> int:
        return len(self._corpus.chunks)

    def result(self) -> Imatrix:
        squares, sums, counts, n_chunks = self._totals
        return Imatrix(
            squares=squares, sums=sums, counts=counts, datasets=self._datasets, chunk_count=n_chunks,
            chunk_size=self._options.n_ctx or N_CTX,
        )  # fmt: skip

    def _open_checkpoint(self, path: str | os.PathLike[str]) -> Checkpoint:
        """Whose one record holds the sums over all chunks so far; they are taken over."""
        sizes = [self._size(name) for name in self._names]
        conditions = conditions_of(
            {"model": self._model}, self._corpus, self._options, process_output=self._process_output,
            weights=repr(self._weights),
        )  # fmt: skip
        n_matrices, flat = [n for n, _ in sizes], [(n * row,) for n, row in sizes]
        shapes = [(1 + sum(n_matrices),), *flat, *flat]
        checkpoint = Checkpoint(path, "imatrix", conditions, lambda _: shapes, 1, _are_totals)
        if checkpoint.records:
            ((n_chunks, *of_all), *arrays) = checkpoint.records[0]
            if n_chunks > self.n_total:
                checkpoint.refuse(f"holds sums over {n_chunks:.0f} chunks, {self.n_total} were asked for")
            counts = np.split(np.array(of_all), np.cumsum(n_matrices)[:-1])
            squares, sums = (
                {name: array.reshape(size) for name, array, size in zip(self._names, part, sizes, strict=True)}
                for part in (arrays[: len(sizes)], arrays[len(sizes) :])
            )
            by_name = dict(zip(self._names, counts, strict=True))
            self._totals = _Totals(squares, sums, by_name, int(n_chunks))
        return checkpoint

    def _to_record(self, totals: _Totals) -> list[Sums]:
        counts = np.concatenate([[totals.n_chunks], *(totals.counts[name] for name in self._names)])
        return [counts, *(of[name].reshape(-1) for of in (totals.squares, totals.sums) for name in self._names)]

    def _size(self, name: str) -> tuple[int, int]:
        """How many matrices a tensor holds, and the length of their rows."""
        shape = self._model.gguf.tensors[name].shape
        return math.prod(shape[2:]), shape[0]

    @property
    def _names(self) -> list[str]:
        """The matrices that are collected for."""
        *operations, head = self._model.plan.operations
        names = [name for of in operations if of.multiplies for name in of.weights] + [*head.weights]
        return [name for name in dict.fromkeys(names) if name.startswith("blk.") or self._process_output]

    def _with_chunk(self, forward: Forward, chunk: Chunk, weight: float) -> _Totals:
        """The totals with one chunk more; those without it stay as they are, for when this is interrupted."""
        squares, sums, counts = dict(self._totals.squares), dict(self._totals.sums), dict(self._totals.counts)
        for tensors, x, experts in _inputs(forward, chunk):
            unique = dict.fromkeys(tensors)  # a fused tensor is there once for each of its parts
            names = [name for name in unique if name.startswith("blk.") or self._process_output]
            if not names:
                continue
            n_matrices, _ = self._size(names[0])
            square, total, count = _sums(x, np.zeros(len(x), np.int64) if experts is None else experts, n_matrices)
            if not np.isfinite(square).all():
                self._model.gguf.check_unchanged()
                path = self._model.path
                raise NumericError(f"{path}: the inputs of {names[0]} are not finite; fetch the model again")
            for name in names:
                squares[name] = squares.get(name, 0) + weight * square
                sums[name] = sums.get(name, 0) + weight * total
                counts[name] = counts.get(name, 0) + weight * count
        return _Totals(squares, sums, counts, self._totals.n_chunks + 1)


def imatrix(
    model: Models,
    text: EvalTexts,
    *,
    weights: Sequence[float] = (),
    n_ctx: int = 512,
    chunks: int | None = None,
    process_output: bool = False,
    cache_type: CacheType = "f16",
    activations: Activations = "int8x2",
    special: bool = False,
    datasets: Sequence[str] = (),
    resume: str | os.PathLike[str] | None = None,
    on_chunk: Progress | None = None,
) -> Imatrix:
    """Run texts through a model and sum the squares of what its matrices are multiplied with.

    text: one or several, or `Conversations`, which the model's own chat template writes out, with its control tokens;
    all their tokens count, and one that is longer than n_ctx goes on in a further chunk. Chunks of several texts take
    turns. weights: what a token of each text counts, from 1e-6 to 1e6;
    default: 1.
    process_output: also for the head (output, or token_embd where that is the head), which llama-imatrix leaves out
    unless asked. special: as in `EvalOptions`. datasets: names of the texts, kept in the result; default: their sha256.
    resume: a file that takes the sums over all chunks so far; if it is there, the run goes on from it. on_chunk(done,
    total) is called after each chunk; `ImatrixMeasurement` keeps the chunks of a run that is ended early. Raises
    ValueError for a text shorter than two chunks, NumericError for inputs that are not finite, ResourceError;
    SubbyteError as `perplexity` does.
    """
    options = EvalOptions(n_ctx, chunks, cache_type, activations, special)
    arguments.callback("on_chunk", on_chunk)

    def report(step: Step) -> None:
        if on_chunk is not None:
            on_chunk(step.done, step.total)

    with ImatrixMeasurement(
        model, text, options, weights=weights, process_output=process_output, datasets=datasets, resume=resume,
    ) as measurement:  # fmt: skip
        found = measurement.run(report)
    if lacking := never_chosen(found):
        _log.warning("%s", lacking)
    return found


def _sums(x: Values, matrices: NDArray[np.int64], n_matrices: int) -> tuple[Sums, Sums, Sums]:
    """Sums of squares and sums of columns, [n_matrices, row length], and counts, of the rows that go to each matrix."""
    squares, sums = np.zeros((2, n_matrices, x.shape[1]))
    for i in np.unique(matrices):
        x64 = x[matrices == i].astype(np.float64)
        squares[i], sums[i] = np.einsum("ij,ij->j", x64, x64), x64.sum(axis=0)
    return squares, sums, np.bincount(matrices, minlength=n_matrices).astype(np.float64)


def _are_totals(figures: Figures) -> bool:
    counts, n = figures[0], len(figures) // 2
    possible = bool((counts >= 0).all() and (counts <= _MAX_COUNT).all() and counts[0] >= 1)
    whole = bool(counts[0] == np.floor(counts[0]))  # the chunks; rows may count less, by the weight of their text
    return possible and whole and all(bool((squares >= 0).all()) for squares in figures[1 : 1 + n])


def _inputs(forward: Forward, chunk: Chunk) -> Iterator[Input]:
    """Inputs of all tokens of a chunk, the last one too, though nothing is predicted from it."""
    tokens = np.append(chunk.tokens, chunk.targets[-1:])
    for start in range(0, len(tokens), forward.n_batch):
        yield from forward.inputs(tokens[start : start + forward.n_batch], start)
