"""Blame: which tensors of a quantized model cost how much divergence, and for how many bytes saved.

One group of tensors at a time is taken from the model into the base, and the base with it is compared with the base as
it is. So a group's figure is its own: a KL divergence, never negative, in which other groups' errors have no part. (The
other way, what is won by mending one group of the model, is the small difference of two large figures.) Where errors
are small they nearly add up: `BlameRun.whole`, the divergence of all groups at once, is there to be held against their
sum.

Behind the base's hidden states a group costs only the layers from its first one on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from subbyte.kernels import compare_logits
from subbyte.runtime.compare.attribution_result import Blame, BlameRun
from subbyte.runtime.compare.base_file import BaseFile
from subbyte.runtime.compare.base_hidden import BaseHidden
from subbyte.runtime.compare.conditions import Conditions, base_model, check_same_shape, same_text
from subbyte.runtime.compare.groups import By, Group, differing_groups, make_group
from subbyte.runtime.compare.lockstep import batches, pieces
from subbyte.runtime.evaluation.corpus import Chunk
from subbyte.runtime.evaluation.divergence import Estimate
from subbyte.runtime.evaluation.statistics import Floats, mean_error
from subbyte.runtime.model import Model
from subbyte.runtime.types import Activations, CacheType, Texts

WHOLE = "all"


@dataclass(frozen=True, slots=True)
class BlameProgress:
    """The group that is measured next, and how much of the work is done, in layers of all groups and chunks."""

    group: str
    done: int
    total: int


class Blaming:
    """A measurement that goes on by a group each time it is asked for the next; `result` tells what is known by then.

    The other arguments and errors are those of `blame`.
    """

    def __init__(self, base: Model | BaseFile, model: Model, text: Texts | None, how: Conditions, by: By) -> None:
        base = base_model(base)
        self._text = same_text(base, [model], text, how)
        check_same_shape(base, [model])
        self._base, self._model, self._how, self._by = base, model, how, by
        self._groups = differing_groups(base, model, by)
        if self._groups:
            names = [name for group in self._groups for name in group.tensors]
            self._groups.insert(0, make_group(WHOLE, names, base, model))
        self._kld: list[list[Floats]] = [[] for _ in self._groups]  # of each group, of each chunk
        self._seconds = 0.0

    def __iter__(self) -> Iterator[BlameProgress]:
        start, done = time.perf_counter(), 0
        forward = self._how.forward(self._base, self._text.n_ctx)
        work = [forward.n_layer - (group.start or 0) + 1 for group in self._groups]
        for chunk in self._text.chunks if self._groups else ():
            base, behind = BaseHidden(forward, chunk, self._text.n_vocab), 0
            for group, layers, found in zip(self._groups, work, self._kld, strict=True):
                yield BlameProgress(group.name, done, sum(work) * len(self._text.chunks))
                for layer in range(behind, group.start or 0):
                    base.run(layer)
                behind = group.start or 0
                found.append(self._divergence(group, base, chunk))
                done += layers
                self._seconds = time.perf_counter() - start

    @property
    def n_done(self) -> int:
        """How often a group was measured over a chunk."""
        return sum(map(len, self._kld))

    def result(self) -> BlameRun:
        """What the chunks say that are done for all groups; of the first one also what is not done for all."""
        n_chunks = [len(found) for found in self._kld]
        n = min(max(1, min(n_chunks)), max(n_chunks)) if n_chunks else 0
        measured = [(g, np.concatenate(found[:n])) for g, found in zip(self._groups, self._kld, strict=True) if found]
        klds = [Estimate(*mean_error(kld)) for _, kld in measured]
        blames = [_blame(group, kld) for (group, _), kld in zip(measured[1:], klds[1:], strict=True)]
        return BlameRun(
            base=str(self._base.path),
            model=str(self._model.path),
            by=self._by,
            groups=tuple(sorted(blames, key=lambda b: (-b.kld_per_mb, -b.kld.value))),
            whole=klds[0] if klds else Estimate(0.0, 0.0),
            n_ctx=self._text.n_ctx,
            chunks=n,
            n_scored=n * len(self._text.chunks[0].wanted),
            text_sha256=self._text.sha256,
            cache_type=self._how.cache_type,
            activations=self._how.activations,
            seconds=self._seconds,
        )

    def _divergence(self, group: Group, base: BaseHidden, chunk: Chunk) -> Floats:
        """KL(base || base with the group), nats, float64 [scored tokens]."""
        self._model.gguf.check_unchanged()
        model, found = self._base, []
        forward = self._how.forward(model, self._text.n_ctx, model.plan_with(group.tensors))
        for tokens, pos in batches(chunk, forward.n_batch):
            if group.start is None:
                forward.run(tokens, pos)
            else:
                forward.hidden = base.hidden[pos : pos + len(tokens)]
                forward.run(tokens, pos, range(group.start, forward.n_layer))
            for piece in pieces(chunk, len(tokens), pos, self._text.n_vocab):
                p, q = base.logits(tokens, pos, piece), forward.logits(piece.rows)
                found.append(compare_logits(p, q, piece.wanted, n_threads=model.n_threads, isa=model.isa).divergence)
        return np.concatenate(found)


def blame(
    base: Model,
    model: Model,
    text: Texts,
    *,
    by: By = "kind",
    n_ctx: int | None = None,
    chunks: int | None = None,
    cache_type: CacheType = "f16",
    activations: Activations = "int8x2",
    on_progress: Callable[[BlameProgress], None] | None = None,
) -> BlameRun:
    """What each group of a model's tensors costs in divergence from its base, and what it saves.

    base, model: the same model in other block types. by: see `By`. The other arguments are those of `compare`;
    on_progress is called before each group. Memory: the base's hidden states over one chunk, and at most 256 MiB of its
    logits. Raises ValueError as `compare` does, and where the files' tensors differ in more than their types.
    """
    blaming = Blaming(base, model, text, Conditions(n_ctx, chunks, cache_type, activations), by)
    for progress in blaming:
        if on_progress is not None:
            on_progress(progress)
    return blaming.result()


def _blame(group: Group, kld: Estimate) -> Blame:
    saved = (group.base_bytes - group.n_bytes) / 1e6
    per_mb = kld.value / saved if saved > 0 else math.inf if kld.value > 0 else 0.0
    return Blame(group.name, group.types, group.base_bytes, group.n_bytes, kld, per_mb)
