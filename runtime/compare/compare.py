"""Models against a base, chunk by chunk in lock-step, so that no file of logits is needed in between."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from subbyte.kernels import Comparison
from subbyte.runtime.compare.base_file import BaseFile, write_base
from subbyte.runtime.compare.conditions import Conditions, base_model, check_same_shape, same_text
from subbyte.runtime.compare.layers import layer_errors, run_layers
from subbyte.runtime.compare.lockstep import Base, FileBase, ModelBase, batches, pieces
from subbyte.runtime.compare.result import CompareRun
from subbyte.runtime.evaluation.corpus import Chunk
from subbyte.runtime.evaluation.divergence import Scored, divergence
from subbyte.runtime.evaluation.forward import Forward
from subbyte.runtime.evaluation.statistics import Floats
from subbyte.runtime.model import Model
from subbyte.runtime.types import Activations, CacheType, Texts


@dataclass(frozen=True, slots=True)
class CompareProgress:
    """The state after a chunk: index counts from 1; the mean KLD of each model over all chunks so far."""

    index: int
    total: int
    kld: tuple[float, ...]
    seconds: float


class _Turn(NamedTuple):
    """One chunk: what each model scored, and the sums of their layers' errors."""

    scored: list[Scored]
    layer_sums: Floats | None


class Comparing:
    """A comparison that goes on by a chunk each time it is asked for the next; `result` tells what is known by then.

    The other arguments and errors are those of `compare`.
    """

    def __init__(
        self,
        base: Model | BaseFile,
        models: Sequence[Model],
        text: Texts | None,
        how: Conditions,
        *,
        layers: bool = False,
        save_base: str | os.PathLike[str] | None = None,
    ) -> None:
        self._text = same_text(base, models, text, how)
        if layers:
            check_same_shape(base_model(base), models)
        if save_base is not None:
            base_model(base)
        self._base, self._models, self._how = base, models, how
        self._layers, self._save_base = layers, save_base
        self._seconds = 0.0
        self._turns: list[_Turn] = []

    def __iter__(self) -> Iterator[CompareProgress]:
        start, chunks = time.perf_counter(), self._text.chunks
        with ExitStack() as stack:
            evaluated = self._models if isinstance(self._base, BaseFile) else [self._base, *self._models]
            forwards = [self._how.forward(model, self._text.n_ctx) for model in evaluated]
            base = self._open_base(forwards[0], stack)
            for i, chunk in enumerate(chunks):
                self._turns.append(self._turn(i, chunk, base, forwards))
                self._seconds = time.perf_counter() - start
                kld = tuple(float(scored.kld.mean()) for scored in self._scored())
                yield CompareProgress(i + 1, len(chunks), kld, self._seconds)

    @property
    def n_done(self) -> int:
        """Chunks that are done."""
        return len(self._turns)

    def result(self) -> CompareRun:
        """The figures of the chunks that are done, at least one."""
        scored = self._scored()
        n_scored = scored[0].kld.size
        sums = [turn.layer_sums for turn in self._turns if turn.layer_sums is not None]
        layers = tuple(layer_errors(of_model, n_scored) for of_model in np.sum(sums, axis=0)) if sums else ()
        return CompareRun(
            base=str(self._base.path),
            results=tuple(divergence(str(m.path), s) for m, s in zip(self._models, scored, strict=True)),
            layers=layers,
            scored=scored,
            n_ctx=self._text.n_ctx,
            chunks=len(self._turns),
            n_tokens=self._text.n_tokens,
            n_scored=n_scored,
            text_sha256=self._text.sha256,
            cache_type=self._how.cache_type,
            activations=self._how.activations,
            seconds=self._seconds,
        )

    def _scored(self) -> tuple[Scored, ...]:
        """Of each model all chunks so far."""
        return tuple(map(_joined, zip(*(turn.scored for turn in self._turns), strict=True)))

    def _open_base(self, forward: Forward, stack: ExitStack) -> Base:
        """The base; forward: its forward pass, if it is a model."""
        if isinstance(self._base, BaseFile):
            return FileBase(self._models[0], self._base)
        if self._save_base is None:
            return ModelBase(self._base, forward)
        windows = np.stack([np.append(chunk.tokens, chunk.wanted[-1:]) for chunk in self._text.chunks])
        save = stack.enter_context(write_base(self._save_base, windows, self._text.n_vocab))
        return ModelBase(self._base, forward, save)

    def _turn(self, index: int, chunk: Chunk, base: Base, forwards: Sequence[Forward]) -> _Turn:
        models = forwards[-len(self._models) :]
        found: list[list[Comparison]] = [[] for _ in models]
        layer_sums = None
        for tokens, pos in batches(chunk, min(forward.n_batch for forward in forwards)):
            if self._layers:
                sums = run_layers(forwards, tokens, pos, slice(max(chunk.first - pos, 0), None))
                layer_sums = sums if layer_sums is None else layer_sums + sums
            else:
                for forward in forwards:
                    forward.run(tokens, pos)
            for piece in pieces(chunk, len(tokens), pos, self._text.n_vocab):
                against = base.against(index, piece)
                for comparisons, forward in zip(found, models, strict=True):
                    comparisons.append(against(forward.logits(piece.rows)))
        return _Turn([_scored(comparisons) for comparisons in found], layer_sums)


def compare(
    base: Model | BaseFile,
    models: Model | Sequence[Model],
    text: Texts | None = None,
    *,
    n_ctx: int | None = None,
    chunks: int | None = None,
    cache_type: CacheType = "f16",
    activations: Activations = "int8x2",
    layers: bool = False,
    save_base: str | os.PathLike[str] | None = None,
    on_chunk: Callable[[CompareProgress], None] | None = None,
) -> CompareRun:
    """How models' predictions of a text, or of several texts, differ from a base's: KL divergence and company.

    base: a model, or a `BaseFile` written by llama.cpp or with save_base; its text then is the file's own. models: one
    or several, of the base's vocabulary. n_ctx: tokens of a chunk, the second half of which is scored; None for 512, or
    what the file has. chunks: at most so many. activations: "int8x2" measures the file, not the rounding of
    activations. layers: also how the residual stream's error grows (models of the base's shape only). save_base: where
    to write a base file, 2 bytes a token of the vocabulary for each scored one. on_chunk is called after each chunk.
    Memory does not depend on n_ctx * n_vocab. Raises ValueError for models that can't be compared, for a text shorter
    than two chunks and for numbers that leave nothing to score.
    """
    how = Conditions(n_ctx, chunks, cache_type, activations)
    several = [models] if isinstance(models, Model) else models
    comparing = Comparing(base, several, text, how, layers=layers, save_base=save_base)
    for progress in comparing:
        if on_chunk is not None:
            on_chunk(progress)
    return comparing.result()


def _scored(found: Sequence[Comparison]) -> Scored:
    log_p, log_q, kld, top_p, top_q = (np.concatenate(of_all) for of_all in zip(*found, strict=True))
    return Scored(-log_q[None], -log_p[None], kld[None], (top_p == top_q)[None])


def _joined(chunks: Sequence[Scored]) -> Scored:
    fields = zip(*((s.loss, s.loss_base, s.kld, s.same_top) for s in chunks), strict=True)
    return Scored(*(np.concatenate(of_all) for of_all in fields))
