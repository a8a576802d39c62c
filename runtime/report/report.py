"""Everything a model card says of quantized files, measured in one go: how well they predict, how large, how fast."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import version

from subbyte.runtime import arguments
from subbyte.runtime.bench.result import Kind
from subbyte.runtime.compare.compare import CompareMeasurement
from subbyte.runtime.evaluation.divergence import Divergence
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.perplexity import PerplexityMeasurement
from subbyte.runtime.evaluation.texts import EvalTexts, named_texts
from subbyte.runtime.evaluation.work import Workers
from subbyte.runtime.inspect.mixture import mixture
from subbyte.runtime.loading import Models, as_model, as_models
from subbyte.runtime.machine import cpu_name
from subbyte.runtime.measurement import Measurement, Step
from subbyte.runtime.report.measure import Speed, digests, measure_speeds
from subbyte.runtime.report.result import Report, ReportRow
from subbyte.runtime.report.size_class import baselines, size_class
from subbyte.runtime.types import Activations, CacheType, StepProgress


class ReportMeasurement(Measurement[Step, Report]):
    """Everything of a report: digests, then losses chunk by chunk, then speeds; arguments and errors are of `report`.

    Holds the models until it is closed. A result made before the end lacks speeds, and the chunks that are not done.
    """

    def __init__(
        self,
        models: Models | Sequence[Models],
        text: EvalTexts,
        options: EvalOptions,
        *,
        base: Models | None = None,
        against: Models | None = None,
        threads: int | None = None,
        prompt: int = 512,
        generate: int = 64,
        repeats: int = 3,
        resume: str | os.PathLike[str] | None = None,
        workers: Workers | None = None,
    ) -> None:
        arguments.instance("options", options, EvalOptions)
        text = named_texts("text", text)
        if threads is not None:
            arguments.whole("threads", threads)
        for name, size in (("prompt", prompt), ("generate", generate), ("repeats", repeats)):
            arguments.whole(name, size, 1)
        self._options, self._prompt, self._generate, self._repeats = options, prompt, generate, repeats
        self._losses: PerplexityMeasurement | CompareMeasurement
        with ExitStack() as stack:
            files = as_models("models", models, stack, threads)
            if not files:
                raise ValueError("models: no model to report on; give at least one")
            self._base = None if base is None else as_model("base", base, stack, threads)
            self._baselines = baselines(files, against)
            if self._base is None:
                self._models = files
                self._losses = PerplexityMeasurement(files, text, options, resume=resume, workers=workers)
            else:
                self._models = [*files, self._base]
                self._losses = CompareMeasurement(self._base, files, text, options, resume=resume, workers=workers)
            self._opened = stack.pop_all()
        self._sha256: list[dict[str, str]] = []
        self._speeds: list[dict[Kind, Speed]] = [{} for _ in self._models]

    def __iter__(self) -> Iterator[Step]:
        self._sha256 = yield from digests([model.gguf for model in self._models])
        what = "perplexity" if self._base is None else "perplexity and divergence"
        for chunk in self._losses:
            yield Step(what, chunk.index, chunk.total)
        for model, speeds in zip(self._models, self._speeds, strict=True):
            yield from measure_speeds(
                model, self._prompt, self._generate, self._repeats, self._options.cache_type, speeds
            )

    @property
    def n_done(self) -> int:
        return self._losses.n_done

    @property
    def n_total(self) -> int:
        return self._losses.n_total

    @property
    def coverage(self) -> str:
        n_speeds = sum(len(speeds) == 2 for speeds in self._speeds)
        return f"{super().coverage} and the speed of {n_speeds} of {len(self._speeds)} files"

    def result(self) -> Report:
        divergences: tuple[Divergence, ...] = ()
        if isinstance(self._losses, CompareMeasurement):
            run, divergences = self._losses.perplexities(), self._losses.result().results
        else:
            run = self._losses.result()
        rows = tuple(
            ReportRow(
                model=str(model.path), sha256=sha256, size_class=size_class(model.gguf), n_bytes=model.gguf.size,
                n_params=model.info.n_params, mixture=mixture(model.gguf), bits_per_weight=model.info.bits_per_weight,
                perplexity=run.results[i],
                delta=run.delta(i, self._baselines[i]) if i in self._baselines else None,
                divergence=divergences[i] if i < len(divergences) else None, prompt=speeds.get("prompt"),
                generation=speeds.get("generation"),
            )
            for i, (model, sha256, speeds) in enumerate(zip(self._models, self._sha256, self._speeds, strict=True))
        )  # fmt: skip
        first = self._models[0]
        return Report(
            rows, None if self._base is None else str(self._base.path), run, version("subbyte"), cpu_name(), first.isa,
            first.n_threads,
        )  # fmt: skip

    def close(self) -> None:
        self._opened.close()


def report(
    models: Models | Sequence[Models],
    text: EvalTexts,
    *,
    base: Models | None = None,
    against: Models | None = None,
    n_ctx: int | None = None,
    chunks: int | None = None,
    cache_type: CacheType = "f16",
    activations: Activations = "int8x2",
    threads: int | None = None,
    prompt: int = 512,
    generate: int = 64,
    repeats: int = 3,
    resume: str | os.PathLike[str] | None = None,
    workers: Workers | None = None,
    on_progress: StepProgress | None = None,
) -> Report:
    """Measure files of one model: perplexity of text, difference from a standard file, divergence from a base, speed.

    models, base: each a `Model`, or as for `load`. against: one of them, with which all others are compared; None for
    the rule of `size_class.baseline_for`. n_ctx, chunks, cache_type, activations: as for `perplexity`. Speed is that of
    a prompt and of so many generated tokens, `repeats` times each, with "int8" activations as in generation. resume,
    workers: as for `perplexity`, or with a base for `compare`; speeds are measured anew, and here. on_progress is
    called with what is done; `ReportMeasurement` keeps what was measured when a report is ended early. Raises what
    `load`, `perplexity` and `compare` raise; ValueError for no models, and for `against` that is none of them.
    """
    arguments.callback("on_progress", on_progress)
    options = EvalOptions(n_ctx, chunks, cache_type, activations)
    with ReportMeasurement(
        models, text, options, base=base, against=against, threads=threads, prompt=prompt, generate=generate,
        repeats=repeats, resume=resume, workers=workers,
    ) as measurement:  # fmt: skip
        return measurement.run(on_progress and (lambda step: on_progress(*step)))
