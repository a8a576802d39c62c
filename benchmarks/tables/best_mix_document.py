"""docs/best-mix.md out of a search and a comparison: found mixtures against those of the same size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import subbyte as sb
from subbyte.runtime.records import Record
from subbyte.runtime.tables import Table, markdown

if TYPE_CHECKING:
    from best_mix_cost import Cost

HEAD = """# The best mixture of a size

`subbyte recipe search` measures what each tensor costs in KL divergence and gives types by that
([how](quantize.md#search)). Here its files stand beside llama.cpp's and DynamicGate's **of the same size**, on a text
that the search never saw.

{summaries}

A large part of it comes from the embeddings, which are the output, too: the published mixtures hold them in 5 or 6
bits, and a search finds that fewer do in most rows. How large, tell the rows `MIXTURE+token_embd=TYPE`: standard
mixtures whose embeddings were given fewer bits by hand (`quantize --tensor-type`). What is left against these is that
queries, keys, values and layers differ more among themselves than any of those mixtures has it (see the bits by kind of
tensor). In these small models embeddings are a fifth of the weights, and in Gemma two thirds; what a search gains on a
large one was not measured here. Both originals are quantized files themselves, and what is measured is the distance
from them, decoded, not from the models as they were trained.
"""


@dataclass(frozen=True, slots=True)
class Row(Record):
    """A file and the found one of its size. bits_of_file, bits_of_found: per weight, by kind of tensor.

    delta, delta_ppl: of the mean KLD and of ln PPL, found minus file.
    """

    name: str
    n_bytes: int
    found_bytes: int
    of_file: sb.Divergence
    of_found: sb.Divergence
    bits_of_file: dict[str, float]
    bits_of_found: dict[str, float]
    delta: sb.Interval
    delta_ppl: sb.Interval
    found: sb.FoundRecipe

    @property
    def change(self) -> float:
        """Of the KLD, as a part of the file's."""
        return self.delta.estimate / self.of_file.kld.value


class Mixtures(NamedTuple):
    """Divergences of random mixtures, nats."""

    predicted: tuple[float, ...]
    measured: tuple[float, ...]

    def correlation(self) -> float:
        """Spearman's, of the ranks."""
        a, b = (np.argsort(np.argsort(np.array(values))).astype(np.float64) for values in self)
        return float(np.corrcoef(a, b)[0, 1])


class ModelResult(NamedTuple):
    """All that was measured of one model. width: of its rows, widened."""

    model: str
    width: int
    rows: Sequence[Row]
    run: sb.CompareRun
    search: sb.RecipeSearch
    mixtures: Mixtures | None

    @property
    def published(self) -> list[Row]:
        """Against mixtures as they are published."""
        return [row for row in self.rows if "+" not in row.name]

    @property
    def changed(self) -> list[Row]:
        """Against mixtures with a rule of ours, MIXTURE+PATTERN=TYPE."""
        return [row for row in self.rows if "+" in row.name]


def document(results: Sequence[ModelResult], cost: "Cost | None", command: str, stem: str) -> str:
    """The whole page. stem: of its name, and of its pictures'."""
    summaries = [
        f"- {of.model}{which}: {_summary(rows)}"
        for of in results
        for which, rows in (("", of.published), (", mixtures with fewer bits of embeddings", of.changed))
        if rows
    ]
    parts = [HEAD.format(summaries="\n".join(summaries)).rstrip()]
    for of in results:
        parts += _of_model(of, f"{stem}-{of.model}.svg")
    if cost is not None:
        parts += ["## What a search takes", _of_cost(results, cost)]
    parts += ["## How it was made", f"The test text was not searched on.\n\n    {command}"]
    return "\n\n".join(parts) + "\n"


def _of_model(of: ModelResult, picture: str) -> list[str]:
    parts = [
        f"## {of.model}",
        f"The base is {of.model}, decoded to F32 and widened to rows of {of.width} (benchmarks/widen.py).",
        f"![KL divergence of {of.model}'s files by size]({picture})",
        markdown(_table(of.rows)),
        _conditions(of.run), f"### {of.model}: bits per weight by kind of tensor", markdown(_bits(of.rows)),
        f"### {of.model}: prediction and measurement", markdown(_predictions(of.rows)),
        _of_predictions(of.search),
    ]  # fmt: skip
    if of.mixtures is not None:
        parts += [_of_mixtures(of.mixtures)]
    recipes = [
        f"<details><summary>{row.name}'s size</summary>\n\n```toml\n{row.found.recipe.rstrip()}\n```\n\n</details>"
        for row in of.rows
    ]
    return [*parts, f"### {of.model}: the mixtures", *recipes]


def _summary(rows: Sequence[Row]) -> str:
    better = [row for row in rows if row.delta.high < 0]
    strong = [row for row in better if row.change <= -0.15]
    lower = [row for row in rows if row.delta_ppl.high < 0]
    higher = [row for row in rows if row.delta_ppl.low > 0]
    undecided = len(rows) - len(lower) - len(higher)
    least, most = (f"{-100 * end(row.change for row in rows):.0f}" for end in (max, min))
    return (
        f"the found file has the lower KLD in {len(better)} of {len(rows)} rows with an interval clear of zero, by "
        f"{least} to {most} %, by 15 % or more in {len(strong)}; the lower perplexity in {len(lower)}, the higher "
        f"one in {len(higher)}, undecided {undecided}."
    )


def _table(rows: Sequence[Row]) -> Table:
    cells = [
        (row.name, f"{row.n_bytes / 1e6:.2f}", f"{row.found_bytes / 1e6:.2f}", row.of_file.kld.text(5),
         row.of_found.kld.text(5), f"{row.change:+.1%}", f"{row.delta.low:+.5f} .. {row.delta.high:+.5f}",
         f"{row.of_file.ppl.value:.3f}", f"{row.of_found.ppl.value:.3f}",
         f"{row.delta_ppl.low:+.4f} .. {row.delta_ppl.high:+.4f}")
        for row in rows
    ]  # fmt: skip
    columns = (
        "file", "MB", "found, MB", "KLD", "KLD, found", "change", "Δ KLD, 95%", "PPL", "PPL, found", "Δ ln PPL, 95%",
    )  # fmt: skip
    return Table.of_figures("", columns, cells)


def _bits(rows: Sequence[Row]) -> Table:
    kinds = list(rows[0].bits_of_file)
    cells = [
        (name, *(f"{bits[kind]:.2f}" for kind in kinds))
        for row in rows
        for name, bits in ((row.name, row.bits_of_file), ("found", row.bits_of_found))
    ]
    return Table.of_figures("", ("file", *kinds), cells)


def _conditions(run: sb.CompareRun) -> str:
    return (
        f"KLD from the F32 file, nats, over {run.n_scored} tokens: {run.chunks} chunks of {run.n_ctx}, "
        f"{run.activations} activations; text sha256 {run.text_sha256}. PPL of the base: "
        f"{run.results[0].ppl_base.value:.3f}."
    )


def _predictions(rows: Sequence[Row]) -> Table:
    cells = []
    for row in rows:
        tried = ", ".join(f"{of.predicted:.4f} → {of.kld.value:.4f}" for of in row.found.rounds)
        held_out = f"{row.found.kld.estimate:.5f}"
        cells.append((row.name, tried, f"{row.found.predicted:.5f}", held_out, row.found.kld.text(5, " .. ")))
    columns = ("size of", "rounds: predicted → measured", "predicted", "held out", "95%")
    return Table.of_figures("", columns, cells)


def _of_predictions(search: sb.RecipeSearch) -> str:
    costs = [cost for tensor in search.found[-1].tensors for cost in tensor.types]
    measured = sum(cost.basis == "measured" for cost in costs)
    notes = search.notes().replace(search.source, Path(search.source).name)
    return f"{notes} Of {len(costs)} pairs of tensor and type {measured} were measured, the others estimated."


def _of_mixtures(mixtures: Mixtures) -> str:
    low, high = min(mixtures.measured), max(mixtures.measured)
    return (
        f"{len(mixtures.predicted)} random mixtures, of divergences from {low:.4f} to {high:.4f} on held-out passages: "
        f"the rank correlation of predicted and measured is {mixtures.correlation():.3f}."
    )


def _of_cost(results: Sequence[ModelResult], cost: "Cost") -> str:
    took = "; ".join(
        f"{of.model} {of.search.seconds / 3600:.1f} h for {len(of.search.found)} sizes, {of.search.measured} "
        f"divergences measured and {of.search.reused} known before"
        for of in results
    )
    whole = (cost.alone + cost.within) / 3600
    hours = f"{cost.alone / 3600:.1f} h, within a mixture {cost.within / 3600:.1f} h"
    return (
        f"Those of this page: {took}. Extrapolated from two layers of {cost.shape}'s shape in BF16, {cost.threads} "
        f"threads: {cost.bands} bands of tensors alone {hours}, so {whole:.1f} h for a size of two rounds, and less "
        f"for the next one. Memory: {cost.memory / 1e9:.1f} GB with one passage, at most 1.1 GB more for predictions "
        f"of the base on all passages, and what is mapped: {cost.base / 1e9:.1f} GB of base, which are read again for "
        "each measurement, so that they had better fit into memory, too."
    )
