"""Perplexity of texts: of one model, or of several over the same tokens, whose differences have errors of their own.

One model's figure can be compared with llama-perplexity's digit by digit (see corpus.py). Two models predict the same
tokens well and badly together, so the error of their difference is far smaller than that of either: it comes from the
differences token by token.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import overload

import numpy as np

from subbyte.runtime import arguments
from subbyte.runtime.evaluation.checkpoint import Checkpoint, Figures, conditions_of
from subbyte.runtime.evaluation.corpus import Chunk, read_corpora
from subbyte.runtime.evaluation.forward import Forward
from subbyte.runtime.evaluation.losses import are_losses, check_losses
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.perplexity_result import PerplexityResult, PerplexityRun, estimate, result_of
from subbyte.runtime.evaluation.scored import ScoredTokens
from subbyte.runtime.evaluation.statistics import LEVEL, Floats, RunningMean, SequentialTest
from subbyte.runtime.evaluation.texts import EvalTexts, named_texts
from subbyte.runtime.evaluation.work import ModelFile, Work, Workers, checked_workers
from subbyte.runtime.gguf.identical import first_of_same
from subbyte.runtime.loading import Models, as_models
from subbyte.runtime.measurement import Measurement
from subbyte.runtime.model import Model
from subbyte.runtime.types import Activations, CacheType


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """The state after a chunk: index counts from 1; ppl and error, one for each model, cover all chunks so far."""

    index: int
    total: int
    ppl: tuple[float, ...]
    error: tuple[float, ...]
    seconds: float


class PerplexityMeasurement(Measurement[ChunkResult, PerplexityRun]):
    """Perplexity of several models, a chunk at a time; arguments and errors are those of `perplexity`.

    workers: compute the chunks elsewhere, to the same figures; see `RayWorkers`.
    """

    def __init__(
        self,
        models: Models | Sequence[Models],
        text: EvalTexts,
        options: EvalOptions,
        *,
        stride: int | None = None,
        compat: bool = False,
        until_decided: bool = False,
        resume: str | os.PathLike[str] | None = None,
        workers: Workers | None = None,
    ) -> None:
        self._options, self._until_decided = options, arguments.flag("until_decided", until_decided)
        arguments.instance("options", options, EvalOptions)
        arguments.flag("compat", compat)
        resume = arguments.optional_path("resume", resume)
        self._text = text = named_texts("text", text)
        self._cut = {"stride": stride, "compat": compat}
        self._workers = checked_workers(workers)
        self._test = SequentialTest(LEVEL)
        self._checkpoint = None
        with ExitStack() as stack:
            self._models = models = as_models("models", models, stack)
            self._same = first_of_same([model.gguf for model in models])
            self._corpora = read_corpora(models, text, options, stride=stride, compat=compat)
            if resume is not None:
                self._checkpoint = Checkpoint(
                    resume, "perplexity", self.conditions(),
                    lambda chunk: [self._corpora[0].chunks[chunk].targets.shape] * (2 * len(models)), self.n_total,
                    lambda figures: all(map(are_losses, figures[::2])),
                )  # fmt: skip
            self._opened = stack.pop_all()
        self._losses: list[Figures] = []  # of each chunk, of each model
        self._right: list[Figures] = []  # 1 where a token is the model's likeliest
        self._seconds = 0.0

    def __iter__(self) -> Iterator[ChunkResult]:
        start = time.perf_counter()
        so_far = [RunningMean() for _ in self._models]
        for figures in self._measure():
            losses = figures[::2]
            self._losses.append(losses)
            self._right.append(figures[1::2])
            for of_model, loss in zip(so_far, losses, strict=True):
                of_model.add(loss)
            self._seconds = time.perf_counter() - start
            ppl, error = zip(*(estimate(*of_model.mean_error()) for of_model in so_far), strict=True)
            yield ChunkResult(self.n_done, self.n_total, ppl, error, self._seconds)
            if self._until_decided and self._is_decided():
                break

    def close(self) -> None:
        self._opened.close()

    @property
    def n_done(self) -> int:
        return len(self._losses)

    @property
    def n_total(self) -> int:
        return len(self._corpora[0].chunks)

    def result(self) -> PerplexityRun:
        losses = tuple(map(np.concatenate, zip(*self._losses, strict=True)))
        right = tuple(np.concatenate(of_model) != 0 for of_model in zip(*self._right, strict=True))
        tokens = ScoredTokens.of(self._corpora[0].chunks[: self.n_done], self._corpora[0].names)
        results = tuple(
            result_of(*of_model, tokens, self._options, self._seconds)
            for of_model in zip(self._models, losses, right, self._corpora, strict=True)
        )
        return PerplexityRun(results, losses, right, tokens, self._test.level, self._same)

    def conditions(self) -> Mapping[str, object]:
        """What another run must share for its chunks to be those of this one."""
        roles = {f"model {i}": model for i, model in enumerate(self._models, 1)}
        return conditions_of(roles, self._corpora[0], self._options)

    def figures(self, units: range) -> Iterator[list[Floats]]:
        """For each of these chunks, of every model in turn, the loss in nats of each target token and whether that is
        the likeliest, 1 or 0; float64 [n], computed here.
        """
        forwards = [self._options.forward(model, self._corpora[0].n_ctx) for model in self._models]
        for i in units:
            figures = []
            for model, forward, corpus in zip(self._models, forwards, self._corpora, strict=True):
                loss, right = _evaluate(forward, corpus.chunks[i])
                check_losses(model.path, loss)
                figures += [loss, right]
            yield figures

    def _measure(self) -> Iterator[Figures]:
        """Of each chunk what `figures` gives, whether from the checkpoint, computed here, or by workers."""
        resumed = self._checkpoint.records if self._checkpoint is not None else []
        yield from resumed
        for figures in self._compute(range(len(resumed), self.n_total)):
            if self._checkpoint is not None:
                self._checkpoint.add(figures)
            yield figures

    def _compute(self, units: range) -> Iterator[Figures]:
        if self._workers is None:
            return self.figures(units)
        given = {"models": list(map(ModelFile.of, self._models)), "options": self._options, **self._cut}
        return self._workers.figures(Work(PerplexityMeasurement, given, self.conditions()), self._text, units)

    def _is_decided(self) -> bool:
        """Whether every model is better or worse than the first by now, or is the same as that."""
        differing = [i for i, first in enumerate(self._same) if first != 0]
        if not differing:
            return True
        if not self._test.is_due(self.n_done, self.n_total):
            return False
        means = [[float(losses[i].mean()) for losses in self._losses] for i in (0, *differing)]
        return self._test.settles(means, [len(losses[0]) for losses in self._losses])


def _evaluate(forward: Forward, chunk: Chunk) -> tuple[Floats, Floats]:
    """Loss of each target token, nats, and 1 where it is the likeliest, 0 where not."""
    losses, right = np.empty((2, len(chunk.targets)))
    for pos in range(0, len(chunk.tokens), forward.n_batch):
        tokens = chunk.tokens[pos : pos + forward.n_batch]
        forward.run(tokens, pos)
        scored = slice(*np.searchsorted(chunk.rows, [pos, pos + len(tokens)]))
        if chunk.rows[scored].size:
            found = forward.logprobs(chunk.rows[scored] - np.int32(pos), chunk.targets[scored])
            losses[scored], right[scored] = -found[0].astype(np.float64), found[1]
    return losses, right


@overload
def perplexity(  # type: ignore[overload-overlap]  # a str is a sequence, too
    model: Models,
    text: EvalTexts,
    *,
    n_ctx: int | None = ...,
    chunks: int | None = ...,
    stride: int | None = ...,
    cache_type: CacheType = ...,
    activations: Activations = ...,
    special: bool = ...,
    compat: bool = ...,
    resume: str | os.PathLike[str] | None = ...,
    workers: Workers | None = ...,
    on_chunk: Callable[[ChunkResult], None] | None = ...,
) -> PerplexityResult: ...
@overload
def perplexity(
    model: Sequence[Models],
    text: EvalTexts,
    *,
    n_ctx: int | None = ...,
    chunks: int | None = ...,
    stride: int | None = ...,
    cache_type: CacheType = ...,
    activations: Activations = ...,
    special: bool = ...,
    compat: bool = ...,
    until_decided: bool = ...,
    resume: str | os.PathLike[str] | None = ...,
    workers: Workers | None = ...,
    on_chunk: Callable[[ChunkResult], None] | None = ...,
) -> PerplexityRun: ...
def perplexity(
    model: Models | Sequence[Models],
    text: EvalTexts,
    *,
    n_ctx: int | None = None,
    chunks: int | None = None,
    stride: int | None = None,
    cache_type: CacheType = "f16",
    activations: Activations = "int8x2",
    special: bool = False,
    compat: bool = False,
    until_decided: bool = False,
    resume: str | os.PathLike[str] | None = None,
    workers: Workers | None = None,
    on_chunk: Callable[[ChunkResult], None] | None = None,
) -> PerplexityResult | PerplexityRun:
    """Perplexity of `text`, or of several texts, in chunks of n_ctx tokens (None: 512); chunks: at most so many in all.

    text: one or several, or a mapping of names to texts, which results then name. One may be `Conversations`: each is
    evaluated whole, in the model's chat template, and the assistant's tokens are scored; n_ctx is how many tokens
    one may have (None: as the model was trained). Chunks of several texts take turns. model: one, as a `Model` or
    as what `load` takes, or a list of them that tokenize alike: they take turns at each chunk, and
    `PerplexityRun.delta` compares them. stride: score the last so many tokens of overlapping windows (see
    corpus.py). activations: "int8x2" measures the file, not the rounding of activations; "int8" measures what chat
    and generation compute. special: as in `EvalOptions`. compat: llama.cpp's rules where they differ (corpus.py).
    until_decided: stop when every model is better or worse than the first, or the same to the last byte, or at the
    end of the text; each look has a price, see `SequentialTest`. resume: a file that takes the results of each
    chunk; if it is there, the run goes on from it. workers: compute the chunks elsewhere (`RayWorkers`). on_chunk
    is called after each chunk; `PerplexityMeasurement` keeps the chunks of a run that is ended early. Memory does
    not depend on n_ctx * n_vocab. Raises ValueError when a text is shorter than two chunks, when n_ctx leaves
    nothing to score, or when the models tokenize it differently; NumericError for losses that make no perplexity;
    SubbyteError when the file to resume from is of another run, or no checkpoint, which is then left as it is.
    """
    arguments.callback("on_chunk", on_chunk)
    options = EvalOptions(n_ctx, chunks, cache_type, activations, special)
    with PerplexityMeasurement(
        model, text, options, stride=stride, compat=compat, until_decided=until_decided, resume=resume,
        workers=workers,
    ) as measurement:  # fmt: skip
        run = measurement.run(on_chunk)
    return run.results[0] if isinstance(model, Model | str | os.PathLike) else run
