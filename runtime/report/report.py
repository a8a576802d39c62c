"""Everything a model card says of quantized files, measured in one go: how well they predict, how large, how fast.

Its table is that of a model card; below it stands all that another needs to get the same figures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from subbyte.runtime.evaluation.divergence import Divergence
from subbyte.runtime.evaluation.perplexity_result import Delta, PerplexityResult, PerplexityRun
from subbyte.runtime.evaluation.tables import Table, html, markdown, short_names
from subbyte.runtime.machine import cpu_name
from subbyte.runtime.model import Model, load
from subbyte.runtime.records import Record
from subbyte.runtime.report.measure import Speed, digests, losses_and_divergences, speeds
from subbyte.runtime.report.size_class import SizeClass, size_class, yardstick
from subbyte.runtime.types import Activations, CacheType, StepProgress, Texts

COLUMNS = ("file", "types", "MB", "bits/weight", "PPL", "bits/byte", "Δ ln PPL", "verdict")
KLD = "KLD from base"


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

    def table(self) -> Table:
        """A row for each file, the base last."""
        speeds = (f"{self.rows[0].prompt.test}, tokens/s", f"{self.rows[0].generation.test}, tokens/s")
        columns = (*COLUMNS, *([KLD] if self.base is not None else []), *speeds)
        return Table("", columns, [self._cells(i, name) for i, name in enumerate(self._names)])

    def markdown(self, command: str) -> str:
        """The table, what its columns mean, the conditions and the digests."""
        digests = [f"{name} {sha256}" for row in self.rows for name, sha256 in row.sha256.items()]
        parts = [markdown([self.table()]), *self.notes(), f"    {command}"]
        return "\n\n".join([*parts, "sha256:\n\n" + "\n".join(f"    {line}" for line in digests)])

    @property
    def _names(self) -> list[str]:
        return short_names([row.model for row in self.rows])

    def notes(self) -> list[str]:
        """Sentences, each a paragraph."""
        result = self.rows[0].perplexity
        name_of = {row.model: name for row, name in zip(self.rows, self._names, strict=True)}
        against = [f"{name_of[row.model]} with {name_of[row.delta.b]}" for row in self.rows if row.delta]
        notes = [
            f"PPL with its standard error over {result.n_scored} tokens of {result.n_tokens}: {result.chunks} chunks "
            f"of {result.n_ctx}, {result.activations} activations, {result.cache_type} cache; text sha256 "
            f"{result.text_sha256}."
        ]
        if against:
            notes.append(
                f"Δ ln PPL: difference of the mean losses on the same tokens, with its {self.run.level:.0%} interval "
                f"by block bootstrap; compared are {', '.join(against)}."
            )
        if self.base is not None:
            notes.append(f"KLD: mean KL divergence in nats of the next token from {name_of[self.base]}.")
        notes.append(
            f"Tokens/s with their share of what memory or arithmetic allowed at that moment: {self.cpu}, {self.isa}, "
            f"{self.threads} threads, int8 activations; subbyte {self.version}."
        )
        return notes

    def _cells(self, i: int, name: str) -> tuple[str, ...]:
        row = self.rows[i]
        ppl = row.perplexity
        kld = [] if self.base is None else [row.divergence.kld.text(5) if row.divergence else ""]
        return (
            name, str(row.size_class), f"{row.n_bytes / 1e6:.1f}", f"{row.bits_per_weight:.2f}",
            f"{ppl.ppl:.4f} ± {ppl.error:.4f}", f"{ppl.bits_per_byte:.4f}", *_delta(row), *kld, _speed(row.prompt),
            _speed(row.generation),
        )  # fmt: skip

    def _repr_html_(self) -> str:
        return html([self.table()])


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


def _delta(row: ReportRow) -> tuple[str, str]:
    if row.delta is None:
        return "", ""
    found = row.delta.log_ratio
    return f"{found.estimate:+.5f} [{found.low:+.5f} .. {found.high:+.5f}]", row.delta.verdict


def _speed(of: Speed) -> str:
    return f"{of.rate:.4g} ({of.share:.0%} of {of.bound_by})"
