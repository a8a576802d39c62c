"""Everything a model card says of quantized files, measured in one go: how well they predict, how large, how fast."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from subbyte.runtime.evaluation.divergence import Divergence
from subbyte.runtime.evaluation.perplexity_result import Delta, PerplexityResult, PerplexityRun
from subbyte.runtime.machine import cpu_name
from subbyte.runtime.model import Model, load
from subbyte.runtime.records import Record
from subbyte.runtime.report.measure import Speed, digests, losses_and_divergences, speeds
from subbyte.runtime.report.size_class import SizeClass, size_class, yardstick
from subbyte.runtime.types import Activations, CacheType, StepProgress, Texts


@dataclass(frozen=True, slots=True)
class ReportRow(Record):
    """One file. sha256: of each of its files, by name. against: the path of the file that `delta` compares with.

    delta: of ln PPL. divergence: from the base; None without one, and of the base itself.
    """

    model: str
    sha256: dict[str, str]
    size_class: SizeClass
    n_bytes: int
    n_params: int
    bits_per_weight: float
    perplexity: PerplexityResult
    delta: Delta | None
    divergence: Divergence | None
    prompt: Speed
    generation: Speed


@dataclass(frozen=True, slots=True)
class Report(Record):
    """rows: of the files in the order given, then of the base, if there is one. run: their losses, in that order."""

    rows: tuple[ReportRow, ...]
    base: str | None
    run: PerplexityRun
    version: str
    cpu: str
    isa: str
    threads: int

    def to_dict(self) -> dict[str, Any]:
        """All but the losses of single tokens, fit for JSON."""
        own = {name: getattr(self, name) for name in ("base", "version", "cpu", "isa", "threads")}
        return {**own, "level": self.run.level, "rows": [row.to_dict() for row in self.rows]}

    def _repr_html_(self) -> str:
        from subbyte.runtime.evaluation.tables import html
        from subbyte.runtime.report.report_table import report_table

        return html([report_table(self)])


def report(
    models: Sequence[str | os.PathLike[str]],
    text: Texts,
    *,
    base: str | os.PathLike[str] | None = None,
    against: str | os.PathLike[str] | None = None,
    n_ctx: int = 512,
    chunks: int | None = None,
    cache_type: CacheType = "f16",
    activations: Activations = "int8x2",
    threads: int | None = None,
    prompt: int = 512,
    generation: int = 64,
    repeats: int = 3,
    on_progress: StepProgress | None = None,
) -> Report:
    """Measure files of one model: perplexity of text, difference from a standard file, divergence from a base, speed.

    models, base: as for `load`. against: one of the models, with which all others are compared; None for the rule of
    `size_class.yardstick`. n_ctx, chunks, cache_type, activations: as for `perplexity`. Speed is that of a prompt and
    of so many generated tokens, `repeats` times each, with "int8" activations as in generation. Raises what `load`,
    `perplexity` and `compare` raise; ValueError for no models, and for `against` that is none of them.
    """
    if not models:
        raise ValueError("no model to report on; give at least one")
    tell = on_progress or (lambda *_: None)
    with ExitStack() as stack:
        files = [stack.enter_context(load(model, threads=threads)) for model in models]
        reference = None if base is None else stack.enter_context(load(base, threads=threads))
        everyone = files if reference is None else [*files, reference]
        others = _yardsticks(files, against)
        sha256 = digests([model.gguf for model in everyone], tell)
        run, divergences = losses_and_divergences(
            files, reference, text, n_ctx=n_ctx, chunks=chunks, cache_type=cache_type, activations=activations,
            tell=tell,
        )  # fmt: skip
        rows = tuple(
            ReportRow(
                model=str(model.path), sha256=digest, size_class=size_class(model.gguf), n_bytes=model.gguf.size,
                n_params=model.info.n_params, bits_per_weight=model.info.bits_per_weight, perplexity=run.results[i],
                delta=run.delta(i, others[i]) if i in others else None,
                divergence=divergences[i] if i < len(divergences) else None,
                **speeds(model, prompt, generation, repeats, cache_type, tell),
            )
            for i, (model, digest) in enumerate(zip(everyone, sha256, strict=True))
        )  # fmt: skip
        first = files[0]
        return Report(
            rows, None if reference is None else str(reference.path), run, version("subbyte"), cpu_name(), first.isa,
            first.n_threads,
        )  # fmt: skip


def _yardsticks(files: Sequence[Model], against: str | os.PathLike[str] | None) -> dict[int, int]:
    """By the places of those files that are compared with another one, the place of that."""
    places = range(len(files))
    if against is None:
        known = [(size_class(model.gguf), model.gguf.size) for model in files]
        return {i: other for i in places if (other := yardstick(known, i)) is not None}
    from subbyte.runtime.store.resolve import resolve

    path = resolve(against)
    found = next((i for i in places if files[i].path.samefile(path)), None)
    if found is None:
        raise ValueError(f"{os.fspath(against)} is none of the files; give one of them to compare the others with")
    return {i: found for i in places if i != found}
