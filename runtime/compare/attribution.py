"""Attribution: which tensors of a quantized model cost how much divergence, and for how many bytes saved.

One group of tensors at a time is taken from the model into the base, and the base with it is compared with the base as
it is. So a group's figure, its sensitivity, is its own: a KL divergence, never negative, in which other groups' errors
have no part. (The other way, what is won by mending one group of the model, is the small difference of two large
figures.) Where errors are small they nearly add up: `Attribution.whole`, the divergence of all groups at once, is there
to be held against their sum.

Behind the base's hidden states a group costs only the layers from its first one on.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import get_args

import numpy as np

from subbyte.kernels import compare_logits
from subbyte.runtime import arguments
from subbyte.runtime.compare.alignment import align, as_base, base_model, check_same_shape
from subbyte.runtime.compare.attribution_result import Attribution, Sensitivity
from subbyte.runtime.compare.base_file import BaseFile
from subbyte.runtime.compare.base_hidden import BaseHidden
from subbyte.runtime.compare.groups import By, Group, differing_groups, make_group
from subbyte.runtime.compare.lockstep import batches, row_blocks
from subbyte.runtime.evaluation.checkpoint import Checkpoint, Figures, conditions_of
from subbyte.runtime.evaluation.corpus import Chunk
from subbyte.runtime.evaluation.forward import layer_starts
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.statistics import Estimate, Floats, mean_error
from subbyte.runtime.evaluation.texts import EvalTexts, named_texts
from subbyte.runtime.evaluation.work import ModelFile, Work, Workers, checked_workers
from subbyte.runtime.loading import Models, as_model
from subbyte.runtime.measurement import Measurement
from subbyte.runtime.types import Activations, CacheType

WHOLE = "all"


@dataclass(frozen=True, slots=True)
class AttributionProgress:
    """The group that is measured next, and how much of the work is done, in layers of all groups and chunks."""

    group: str
    done: int
    total: int


class AttributionMeasurement(Measurement[AttributionProgress, Attribution]):
    """The sensitivity to each group of tensors, a group over a chunk at a time; arguments and errors as for `blame`.

    Its result has the chunks that are done for all groups; before one is, the groups that are done over the first one.
    workers: compute the groups elsewhere, to the same figures; see `RayWorkers`.
    """

    unit = "group evaluations"

    def __init__(
        self,
        base: Models | BaseFile,
        model: Models,
        text: EvalTexts | None,
        options: EvalOptions,
        by: By,
        *,
        resume: str | os.PathLike[str] | None = None,
        workers: Workers | None = None,
    ) -> None:
        arguments.choice("by", by, get_args(By))
        arguments.instance("options", options, EvalOptions)
        if text is not None:
            text = named_texts("text", text)
        resume = arguments.optional_path("resume", resume)
        with ExitStack() as stack:
            base = base_model(as_base("base", base, stack))
            model = as_model("model", model, stack)
            alignment = align(base, [model], text, options)
            check_same_shape(base, [model])
            self._opened = stack.pop_all()
        self._base, self._model, self._options, self._by = base, model, options, by
        self._text, self._workers = text, checked_workers(workers)
        self._corpus, self._n_vocab = alignment.corpus, alignment.n_vocab
        self._groups = differing_groups(base, model, by)
        if self._groups:
            names = [name for group in self._groups for name in group.tensors]
            self._groups.insert(0, make_group(WHOLE, names, base, model))
        self._kld: list[list[Floats]] = [[] for _ in self._groups]  # of each group, of each chunk
        self._seconds = 0.0
        self._checkpoint = None
        if resume is not None:
            self._checkpoint = Checkpoint(
                resume, "blame", self.conditions(), self._shapes, self.n_total, lambda _: True
            )  # fmt: skip
            for i, (kld,) in enumerate(self._checkpoint.records):
                self._kld[i % len(self._groups)].append(kld)

    def __iter__(self) -> Iterator[AttributionProgress]:
        start, n_groups = time.perf_counter(), len(self._groups)
        n_layer = len(layer_starts(self._base.plan.operations)) - 1
        work = [n_layer - (group.start or 0) + 1 for group in self._groups]
        units = range(self.n_done, self.n_total)  # those before them are in a checkpoint
        done = sum(work[unit % n_groups] for unit in range(units.start))
        figures = self._compute(units)
        for unit in units:
            group = unit % n_groups
            yield AttributionProgress(self._groups[group].name, done, sum(work) * len(self._corpus.chunks))
            record = next(figures)
            if self._checkpoint is not None:
                self._checkpoint.add(record)
            self._kld[group].extend(record)
            done += work[group]
            self._seconds = time.perf_counter() - start

    def conditions(self) -> Mapping[str, object]:
        """What another run must share for its figures to be those of this one."""
        return conditions_of({"base": self._base, "model": self._model}, self._corpus, self._options, by=self._by)

    def figures(self, units: range) -> Iterator[list[Floats]]:
        """KL(base || base with a group), nats, float64 [scored tokens], computed here for each of these units.

        Unit i * n_groups + g is group g over chunk i. Groups are in the order of their first layers, so that the base
        runs on from one to the next.
        """
        forward = self._options.forward(self._base, self._corpus.n_ctx)
        base, at, behind = None, -1, 0
        for unit in units:
            i, group = unit // len(self._groups), self._groups[unit % len(self._groups)]
            chunk = self._corpus.chunks[i]
            if base is None or i != at:
                base, at, behind = BaseHidden(forward, chunk, self._n_vocab), i, 0
            for layer in range(behind, group.start or 0):
                base.run(layer)
            behind = group.start or 0
            yield [self._divergence(group, base, chunk)]

    def _compute(self, units: range) -> Iterator[Figures]:
        if self._workers is None:
            return self.figures(units)
        given = {
            "base": ModelFile.of(self._base), "model": ModelFile.of(self._model), "options": self._options,
            "by": self._by,
        }  # fmt: skip
        return self._workers.figures(Work(AttributionMeasurement, given, self.conditions()), self._text, units)

    def close(self) -> None:
        self._opened.close()

    @property
    def n_done(self) -> int:
        return sum(map(len, self._kld))

    @property
    def n_total(self) -> int:
        return len(self._groups) * len(self._corpus.chunks)

    def result(self) -> Attribution:
        n_chunks = [len(of_chunks) for of_chunks in self._kld]
        n = min(max(1, min(n_chunks)), max(n_chunks)) if n_chunks else 0
        measured = [(g, np.concatenate(klds[:n])) for g, klds in zip(self._groups, self._kld, strict=True) if klds]
        klds = [Estimate(*mean_error(kld)) for _, kld in measured]
        groups = [_sensitivity(group, kld) for (group, _), kld in zip(measured[1:], klds[1:], strict=True)]
        return Attribution(
            base=str(self._base.path),
            model=str(self._model.path),
            by=self._by,
            groups=tuple(sorted(groups, key=lambda group: (-group.kld_per_mb, -group.kld.value))),
            whole=klds[0] if klds else Estimate(0.0, 0.0),
            n_ctx=self._corpus.n_ctx,
            chunks=n,
            n_scored=sum(len(chunk.targets) for chunk in self._corpus.chunks[:n]),
            text_sha256=self._corpus.sha256,
            cache_type=self._options.cache_type,
            activations=self._options.activations,
            seconds=self._seconds,
        )

    def _shapes(self, unit: int) -> list[tuple[int, ...]]:
        return [self._corpus.chunks[unit // len(self._groups)].targets.shape]

    def _divergence(self, group: Group, base: BaseHidden, chunk: Chunk) -> Floats:
        """KL(base || base with the group), nats, float64 [scored tokens]."""
        self._model.gguf.check_unchanged()
        model, klds = self._base, []
        forward = self._options.forward(model, self._corpus.n_ctx, model.plan_with(group.tensors))
        for tokens, pos in batches(chunk, forward.n_batch):
            if group.start is None:
                forward.run(tokens, pos)
            else:
                forward.hidden = base.hidden[pos : pos + len(tokens)]
                forward.run(tokens, pos, range(group.start, forward.n_layer))
            for block in row_blocks(chunk, len(tokens), pos, self._n_vocab):
                p, q = base.logits(tokens, pos, block), forward.logits(block.rows)
                klds.append(compare_logits(p, q, block.targets, n_threads=model.n_threads, isa=model.isa).divergence)
        return np.concatenate(klds)


def blame(
    base: Models,
    model: Models,
    text: EvalTexts,
    *,
    by: By = "kind",
    n_ctx: int | None = None,
    chunks: int | None = None,
    cache_type: CacheType = "f16",
    activations: Activations = "int8x2",
    resume: str | os.PathLike[str] | None = None,
    workers: Workers | None = None,
    on_progress: Callable[[AttributionProgress], None] | None = None,
) -> Attribution:
    """What each group of a model's tensors costs in divergence from its base, and what it saves.

    base, model: the same model in other block types. by: see `By`. The other arguments are those of `compare` (resume:
    a file of its own); on_progress is called before each group; `AttributionMeasurement` keeps what is done when it is
    ended early. Memory: the base's hidden states over one chunk, and at most 256 MiB of its logits. Raises ValueError
    and SubbyteError as `compare` does, and ValueError where the files' tensors differ in more than their types.
    """
    options = EvalOptions(n_ctx, chunks, cache_type, activations)
    arguments.callback("on_progress", on_progress)
    with AttributionMeasurement(base, model, text, options, by, resume=resume, workers=workers) as measurement:
        return measurement.run(on_progress)


def _sensitivity(group: Group, kld: Estimate) -> Sensitivity:
    saved = (group.base_bytes - group.n_bytes) / 1e6
    per_mb = kld.value / saved if saved > 0 else math.inf if kld.value > 0 else 0.0
    return Sensitivity(group.name, group.types, group.base_bytes, group.n_bytes, kld, per_mb)
