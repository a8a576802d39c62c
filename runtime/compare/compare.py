"""Models against a base, chunk by chunk in lock-step, so that no file of logits is needed in between."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from subbyte.kernels import Comparison
from subbyte.runtime import arguments
from subbyte.runtime.compare.alignment import align, as_base, base_model, check_same_shape
from subbyte.runtime.compare.base_file import BASE_FILE, BaseFile, write_base
from subbyte.runtime.compare.chunk_figures import N_FIELDS, ChunkFigures, joined
from subbyte.runtime.compare.layers import layer_errors, run_layers
from subbyte.runtime.compare.lockstep import Base, FileBase, ModelBase, batches, row_blocks
from subbyte.runtime.compare.result import CompareRun
from subbyte.runtime.evaluation.checkpoint import Checkpoint, Figures, conditions_of, file_facts
from subbyte.runtime.evaluation.corpus import Chunk
from subbyte.runtime.evaluation.divergence import TokenFigures, divergence
from subbyte.runtime.evaluation.forward import Forward, layer_starts
from subbyte.runtime.evaluation.losses import are_losses, check_losses
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.perplexity_result import PerplexityRun, result_of
from subbyte.runtime.evaluation.scored import ScoredTokens
from subbyte.runtime.evaluation.statistics import LEVEL, Floats, RunningMean
from subbyte.runtime.evaluation.texts import Conversations, EvalTexts, named_texts
from subbyte.runtime.evaluation.work import ModelFile, Work, Workers, checked_workers
from subbyte.runtime.files import check_place
from subbyte.runtime.gguf.identical import first_of_same
from subbyte.runtime.loading import Models, as_models
from subbyte.runtime.measurement import Measurement
from subbyte.runtime.types import Activations, CacheType


@dataclass(frozen=True, slots=True)
class CompareProgress:
    """The state after a chunk: index counts from 1; the mean KLD of each model over all chunks so far."""

    index: int
    total: int
    kld: tuple[float, ...]
    seconds: float


class CompareMeasurement(Measurement[CompareProgress, CompareRun]):
    """A comparison of models with a base, a chunk at a time; arguments and errors are those of `compare`.

    workers: compute the chunks elsewhere, to the same figures; see `RayWorkers`.
    """

    def __init__(
        self,
        base: Models | BaseFile,
        models: Models | Sequence[Models],
        text: EvalTexts | None,
        options: EvalOptions,
        *,
        layers: bool = False,
        save_base: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        resume: str | os.PathLike[str] | None = None,
        workers: Workers | None = None,
    ) -> None:
        arguments.instance("options", options, EvalOptions)
        arguments.flag("layers", layers)
        arguments.flag("overwrite", overwrite)
        if save_base is not None:
            save_base = arguments.path("save_base", save_base)
        resume = arguments.optional_path("resume", resume)
        if resume is not None and save_base is not None:
            raise ValueError("a base file needs all chunks of one run; give save_base or resume, not both")
        if workers is not None and save_base is not None:
            raise ValueError("workers send figures, no logits, which a base file holds; give save_base or workers")
        if text is not None:
            text = named_texts("text", text)
            if save_base is not None and any(isinstance(of, Conversations) for of in text.values()):
                raise ValueError("a base file holds chunks of one length; give save_base or conversations, not both")
        with ExitStack() as stack:
            base = as_base("base", base, stack)
            models = as_models("models", models, stack)
            if save_base is not None:
                base_model(base)
                check_place(save_base, BASE_FILE, overwrite=overwrite)
            alignment = align(base, models, text, options)
            if layers:
                check_same_shape(base_model(base), models)
            self._opened = stack.pop_all()
        self._base, self._models, self._options = base, models, options
        self._text, self._workers = text, checked_workers(workers)
        self._corpus, self._n_vocab = alignment.corpus, alignment.n_vocab
        self._layers, self._save_base, self._overwrite = layers, save_base, overwrite
        against = [] if isinstance(base, BaseFile) else [base.gguf]
        self._same = first_of_same([*(model.gguf for model in models), *against])
        self._seconds = 0.0
        self._chunks: list[ChunkFigures] = []  # those that are done
        self._checkpoint = None if resume is None else self._open_checkpoint(resume)

    def __iter__(self) -> Iterator[CompareProgress]:
        start = time.perf_counter()
        so_far = [RunningMean() for _ in self._models]
        for figures in self._measure_all():
            self._chunks.append(figures)
            self._seconds = time.perf_counter() - start
            for kld, of_model in zip(so_far, figures.per_token, strict=True):
                kld.add(of_model.kld)
            yield CompareProgress(self.n_done, self.n_total, tuple(kld.mean for kld in so_far), self._seconds)

    def conditions(self) -> Mapping[str, object]:
        """What another run must share for its chunks to be those of this one."""
        roles = {f"model {i}": model for i, model in enumerate(self._models, 1)}
        base: dict[str, object] = {}
        if isinstance(self._base, BaseFile):
            base["base"] = file_facts(self._base.path, self._base.path.stat().st_size, self._base.digest())
        else:
            roles = {"base": self._base, **roles}
        return {**conditions_of(roles, self._corpus, self._options, layers=self._layers), **base}

    def figures(self, units: range) -> Iterator[list[Floats]]:
        """For each of these chunks, computed here: each model's `TokenFigures`, float64 [n] a field; then the sums of
        layers' errors, if they are asked for.
        """
        with ExitStack() as stack:
            evaluated = self._models if isinstance(self._base, BaseFile) else [self._base, *self._models]
            forwards = [self._options.forward(model, self._corpus.n_ctx) for model in evaluated]
            base = self._open_base(forwards[0], stack)
            for i in units:
                figures = self._measure(i, self._corpus.chunks[i], base, forwards)
                check_losses(self._base.path, figures.per_token[0].loss_base)
                for model, of_model in zip(self._models, figures.per_token, strict=True):
                    check_losses(model.path, of_model.loss)
                yield figures.to_record()

    def _measure_all(self) -> Iterator[ChunkFigures]:
        """Of each chunk the figures, whether from the checkpoint, computed here, or by workers."""
        resumed = self._checkpoint.records if self._checkpoint is not None else []
        yield from map(self._of_record, resumed)
        for record in self._compute(range(len(resumed), self.n_total)):
            if self._checkpoint is not None:
                self._checkpoint.add(record)
            yield self._of_record(record)

    def _compute(self, units: range) -> Iterator[Figures]:
        if self._workers is None:
            return self.figures(units)
        given = {
            "base": self._base.path.absolute() if isinstance(self._base, BaseFile) else ModelFile.of(self._base),
            "models": list(map(ModelFile.of, self._models)), "options": self._options, "layers": self._layers,
        }  # fmt: skip
        return self._workers.figures(Work(CompareMeasurement, given, self.conditions()), self._text, units)

    def close(self) -> None:
        self._opened.close()

    @property
    def n_done(self) -> int:
        return len(self._chunks)

    @property
    def n_total(self) -> int:
        return len(self._corpus.chunks)

    def result(self) -> CompareRun:
        per_token, tokens = self._per_token(), self._scored()
        n_scored = per_token[0].kld.size
        sums = [chunk.layer_sums for chunk in self._chunks if chunk.layer_sums is not None]
        layers = tuple(layer_errors(of_model, n_scored) for of_model in np.sum(sums, axis=0)) if sums else ()
        return CompareRun(
            base=str(self._base.path),
            results=tuple(
                divergence(str(model.path), of, tokens, identical=self._is_base(i))
                for i, (model, of) in enumerate(zip(self._models, per_token, strict=True))
            ),
            layers=layers,
            per_token=per_token,
            tokens=tokens,
            n_ctx=self._corpus.n_ctx,
            chunks=self.n_done,
            total_chunks=self.n_total,
            n_tokens=self._corpus.n_tokens,
            n_scored=n_scored,
            text_sha256=self._corpus.sha256,
            cache_type=self._options.cache_type,
            activations=self._options.activations,
            seconds=self._seconds,
        )

    def perplexities(self) -> PerplexityRun:
        """Perplexity of the models, and last of the base, which must be a model: their losses of the same chunks."""
        per_token = self._per_token()
        losses = (*(of_model.loss for of_model in per_token), per_token[0].loss_base)
        right = (*(of_model.right for of_model in per_token), per_token[0].right_base)
        models, tokens = (*self._models, base_model(self._base)), self._scored()
        results = tuple(
            result_of(*of_model, self._corpus, tokens, self._options, self._seconds)
            for of_model in zip(models, losses, right, strict=True)
        )
        return PerplexityRun(results, losses, right, tokens, LEVEL, self._same)

    def _is_base(self, i: int) -> bool:
        """Whether a model's file holds the same as the base's."""
        return not isinstance(self._base, BaseFile) and self._same[i] == self._same[-1]

    def _scored(self) -> ScoredTokens:
        """Which tokens were scored so far."""
        return ScoredTokens.of(self._corpus.chunks[: self.n_done], self._corpus.names)

    def _per_token(self) -> tuple[TokenFigures, ...]:
        """Of each model all chunks so far."""
        return tuple(map(joined, zip(*(chunk.per_token for chunk in self._chunks), strict=True)))

    def _open_checkpoint(self, path: str | os.PathLike[str]) -> Checkpoint:
        layers: list[tuple[int, ...]] = []
        if self._layers:
            n_layer = len(layer_starts(base_model(self._base).plan.operations)) - 1
            layers.append((len(self._models), 1 + n_layer, 2))

        def shapes(chunk: int) -> list[tuple[int, ...]]:
            return [self._corpus.chunks[chunk].targets.shape] * (N_FIELDS * len(self._models)) + layers

        return Checkpoint(path, "compare", self.conditions(), shapes, self.n_total, self._is_sound)

    def _of_record(self, figures: Figures) -> ChunkFigures:
        return ChunkFigures.of_record(figures, len(self._models))

    def _is_sound(self, figures: Figures) -> bool:
        per_token = self._of_record(figures).per_token
        return all(are_losses(of.loss) and are_losses(of.loss_base) for of in per_token)

    def _open_base(self, forward: Forward, stack: ExitStack) -> Base:
        """The base; forward: its forward pass, if it is a model."""
        if isinstance(self._base, BaseFile):
            return FileBase(self._models[0], self._base)
        if self._save_base is None:
            return ModelBase(self._base, forward)
        windows = np.stack([np.append(chunk.tokens, chunk.targets[-1:]) for chunk in self._corpus.chunks])
        save = stack.enter_context(write_base(self._save_base, windows, self._n_vocab, overwrite=self._overwrite))
        return ModelBase(self._base, forward, save)

    def _measure(self, index: int, chunk: Chunk, base: Base, forwards: Sequence[Forward]) -> ChunkFigures:
        models = forwards[-len(self._models) :]
        comparisons: list[list[Comparison]] = [[] for _ in models]
        layer_sums = None
        for tokens, pos in batches(chunk, min(forward.n_batch for forward in forwards)):
            if self._layers:
                rows = chunk.rows - np.int32(pos)
                sums = run_layers(forwards, tokens, pos, rows[(rows >= 0) & (rows < len(tokens))])
                layer_sums = sums if layer_sums is None else layer_sums + sums
            else:
                for forward in forwards:
                    forward.run(tokens, pos)
            for block in row_blocks(chunk, len(tokens), pos, self._n_vocab):
                against = base.against(index, block)
                for of_model, forward in zip(comparisons, models, strict=True):
                    of_model.append(against(forward.logits(block.rows)))
        return ChunkFigures.of(comparisons, chunk.targets, layer_sums)


def compare(
    base: Models | BaseFile,
    models: Models | Sequence[Models],
    text: EvalTexts | None = None,
    *,
    n_ctx: int | None = None,
    chunks: int | None = None,
    cache_type: CacheType = "f16",
    activations: Activations = "int8x2",
    layers: bool = False,
    save_base: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: str | os.PathLike[str] | None = None,
    workers: Workers | None = None,
    on_chunk: Callable[[CompareProgress], None] | None = None,
) -> CompareRun:
    """How models' predictions of a text, or of several texts, differ from a base's: KL divergence and company.

    base: a model, or a `BaseFile` written by llama.cpp or with save_base; its text then is the file's own. models: one
    or several, of the base's vocabulary. Each is a `Model` or what `load` takes; base may be a base file's path.
    text: as for `perplexity`, also conversations. n_ctx: tokens of a chunk, the second half of which is scored;
    None for 512, or what the file has. chunks: at most so many. activations: "int8x2" measures the file, not the
    rounding of activations. layers: also how the residual stream's error grows (models of the base's shape only).
    save_base: where to write a base file, 2 bytes a token of the vocabulary for each scored one; overwrite: also
    over an older one, else FileExists is raised. resume: a file that takes the figures of each chunk; if it is
    there, the run goes on from it. workers: compute the chunks elsewhere (`RayWorkers`). on_chunk is called after
    each chunk; `CompareMeasurement` keeps the chunks of a run that is ended early. Memory does not depend on n_ctx
    * n_vocab. Raises ValueError for models that can't be compared, for a text shorter than two chunks, for numbers
    that leave nothing to score, and for save_base with resume or workers; NumericError and SubbyteError as
    `perplexity` does.
    """
    options = EvalOptions(n_ctx, chunks, cache_type, activations)
    arguments.callback("on_chunk", on_chunk)
    with CompareMeasurement(
        base, models, text, options, layers=layers, save_base=save_base, overwrite=overwrite, resume=resume,
        workers=workers,
    ) as measurement:  # fmt: skip
        return measurement.run(on_chunk)
