"""A report and its table: that of a model card, with all that another needs below it to get the same figures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from subbyte.runtime.evaluation.divergence import Divergence
from subbyte.runtime.evaluation.perplexity_result import Delta, PerplexityResult, PerplexityRun
from subbyte.runtime.inspect.mixture import Mixture
from subbyte.runtime.measurement import covered, scored
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.report.measure import Speed
from subbyte.runtime.report.saved import SavedReport
from subbyte.runtime.report.size_class import SizeClass
from subbyte.runtime.tables import Table, flat, html, markdown, short_names

COLUMNS = ("file", "types", "MB", "bits/weight", "PPL", "bits/byte", "Δ ln PPL", "verdict")
FROM_BASE = ("KLD from base", "same top", "flips", "accepted")


@dataclass(frozen=True, slots=True)
class ReportRow(Record):
    """One file. sha256: of each of its files, by name. delta: of ln PPL, from the file that it is compared with.

    divergence: from the base; None without one, and of the base itself. mixture: of experts, None for a dense model.
    prompt, generation: None where the report was ended before they were measured.
    """

    model: str
    sha256: dict[str, str]
    size_class: SizeClass
    n_bytes: int
    n_params: int
    mixture: Mixture | None
    bits_per_weight: float
    perplexity: PerplexityResult
    delta: Delta | None
    divergence: Divergence | None
    prompt: Speed | None
    generation: Speed | None


@dataclass(frozen=True, slots=True)
class Report(Record, Tabular):
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

    def records(self) -> list[dict[str, Any]]:
        """A file each; sha256: of each of its parts."""
        shared = {name: getattr(self, name) for name in ("version", "cpu", "isa", "threads")}
        rows = []
        for row in self.rows:
            facts = row.to_dict()
            facts["sha256"] = " ".join(row.sha256.values())
            del facts["perplexity"]["running"]
            rows.append({name: value for name, value in flat(facts) if value is not None} | shared)
        return rows

    def table(self) -> Table:
        """A row for each file, the base last."""
        tests = [speed.test for speed in (self.rows[0].prompt, self.rows[0].generation) if speed]
        columns = (*COLUMNS, *(FROM_BASE if self.base is not None else ()), *(f"{test}, tokens/s" for test in tests))
        return Table.of_figures("", columns, [self._cells(i, name) for i, name in enumerate(self._names)])

    def markdown(self, command: str) -> str:
        """The table, what its columns mean, the conditions and the digests."""
        digests = [f"{name} {sha256}" for row in self.rows for name, sha256 in row.sha256.items()]
        parts = [markdown(self.table()), *self.notes(), f"    {command}"]
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
            f"PPL with its standard error over {scored(result.n_scored, result.n_tokens)}: "
            f"{covered(result.chunks, result.total_chunks)} of {result.n_ctx}, {result.activations} activations, "
            f"{result.cache_type} cache; text sha256 "
            f"{result.text_sha256}."
        ]
        if against:
            notes.append(
                f"Δ ln PPL: difference of the mean losses on the same tokens, with its {self.run.level:.0%} interval "
                f"by block bootstrap; compared are {', '.join(against)}."
            )
        if self.base is not None:
            notes.append(
                f"KLD: mean KL divergence in nats of the next token from {name_of[self.base]}; same top: how "
                "often both have the same likeliest token; flips: tokens of the text that became the likeliest, and "
                "ceased to be; accepted: mean of Σ min(p, q), what speculative sampling would keep of its tokens."
            )
        if of := self.rows[0].mixture:
            active = f"{of.n_active / 1e9:.3g} of {self.rows[0].n_params / 1e9:.3g} billion weights"
            notes.append(f"A mixture of experts: a token takes {of.n_used} of {of.n_expert}, with all else {active}.")
        machine = f"{self.cpu}, {self.isa}, {self.threads} threads"
        if self.rows[0].prompt:
            machine = (
                f"Tokens/s with their share of what memory or arithmetic allowed at that moment: {machine}, int8 "
                "activations"
            )
        return [*notes, f"{machine}; subbyte {self.version}."]

    def _cells(self, i: int, name: str) -> tuple[str, ...]:
        row = self.rows[i]
        ppl = row.perplexity
        from_base = () if self.base is None else _from_base(row.divergence)
        prompt = [_speed(row.prompt)] if self.rows[0].prompt else []
        generation = [_speed(row.generation)] if self.rows[0].generation else []
        return (
            name, str(row.size_class), f"{row.n_bytes / 1e6:.1f}", f"{row.bits_per_weight:.2f}",
            f"{ppl.ppl:.4f} ± {ppl.error:.4f}", f"{ppl.bits_per_byte:.4f}", *_delta(row), *from_base, *prompt,
            *generation,
        )  # fmt: skip

    def save_plot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes KL divergence and perplexity by size with 95 % intervals as a picture, an .svg or a .png.

        Needs matplotlib, of the extra `plot`. overwrite: also over an older plot. Raises ValueError for another ending
        or where no figure is finite, ResourceError without matplotlib, and FileExists for any other file.
        """
        SavedReport.of(self.to_dict()).save_plot(path, overwrite=overwrite)

    def _repr_html_(self) -> str:
        return html(self.table())


def _delta(row: ReportRow) -> tuple[str, str]:
    if row.delta is None:
        return "", ""
    log_ratio = row.delta.log_ratio
    return f"{log_ratio.estimate:+.5f} [{log_ratio.text(5, ' .. ', '+')}]", row.delta.verdict


def _from_base(of: Divergence | None) -> tuple[str, ...]:
    if of is None:
        return ("", "", "", "")
    flips = f"+{of.wrong_to_right.value:.2%} -{of.right_to_wrong.value:.2%}"
    return of.kld.text(5), f"{of.same_top.value:.2%}", flips, f"{of.acceptance.value:.2%}"


def _speed(of: Speed | None) -> str:
    return "" if of is None else f"{of.rate:.4g} ({of.share:.0%} of {of.bound_by})"
