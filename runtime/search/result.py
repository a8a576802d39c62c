"""What a search found: recipes, and of each what was measured and what was estimated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from subbyte.runtime.evaluation.statistics import Estimate, Interval
from subbyte.runtime.recipes.recipe import Recipe, parse_recipe
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.search.fast import FastTypes
from subbyte.runtime.search.prediction import Curve
from subbyte.runtime.tables import Table, flat, html

Basis: TypeAlias = Literal["measured", "shared", "estimated", "guessed"]
"""measured: the tensor alone in this type. shared: with its neighbours, by its part of their errors. estimated: from
its other types, by errors. guessed: from its error alone, where no type that loses anything was measured."""


@dataclass(frozen=True, slots=True)
class TypeCost(Record):
    """A tensor in one type. error: relative, from some of its rows. kld: what it costs alone, nats; see `basis`.

    part: of a mixture's sum of parts, nats: kld, corrected by what the tensor was measured to cost within mixtures.
    """

    type: str
    n_bytes: int
    error: float
    kld: float
    basis: Basis
    part: float


@dataclass(frozen=True, slots=True)
class TensorCosts(Record):
    """A tensor and the type found for it.

    together: tensors of the kind, in neighbouring layers, that were measured with it. within: what these cost within
    the mixture, nats; None where that was not measured.
    """

    tensor: str
    type: str
    together: int
    within: Estimate | None
    types: tuple[TypeCost, ...]


@dataclass(frozen=True, slots=True)
class Round(Record):
    """A mixture that was tried: its divergence as predicted and as measured on the passages of the search, nats.

    parts: the sum of its parts, as they were known in the end.
    """

    predicted: float
    kld: Estimate
    parts: float
    n_bytes: int


@dataclass(frozen=True, slots=True)
class FoundRecipe(Record):
    """The mixture found for one target.

    target: as it was given. n_bytes: of the file. reached: whether the target was; a divergence may be missed within
    the rounds allowed, a size is not. predicted: nats, as the last round before the mixture was measured had it. kld:
    on passages that were held out. rounds: all that were tried; the best of them was taken.
    """

    target: str
    recipe: str
    n_bytes: int
    bits_per_weight: float
    reached: bool
    predicted: float
    kld: Interval
    rounds: tuple[Round, ...]
    tensors: tuple[TensorCosts, ...]

    def predict(self, types: Mapping[str, str]) -> float:
        """The divergence of another mixture, nats. types: of some tensors by name; the others are as found.

        Raises ValueError for a type that was not worth taking.
        """
        total = 0.0
        for tensor in self.tensors:
            wanted = types.get(tensor.tensor, tensor.type)
            part = next((cost.part for cost in tensor.types if cost.type == wanted), None)
            if part is None:
                allowed = ", ".join(cost.type for cost in tensor.types)
                raise ValueError(f"nothing is known of {tensor.tensor} in {wanted}; known are {allowed}")
            total += part
        return Curve((tried.parts, tried.kld.value) for tried in self.rounds).at(total)

    def open_recipe(self) -> Recipe:
        """The recipe itself, as `quantize` takes it."""
        return parse_recipe(self.recipe)


@dataclass(frozen=True, slots=True)
class RecipeSearch(Record, Tabular):
    """The mixtures found for each target, in the order given.

    passages: of the search; as many, or nearly, were held out. n_scored, n_held_out: predictions scored. measured: how
    many divergences were measured; reused: how many were known, from an earlier run or from another target. fast: which
    types were left out as slow, None where speed did not count.
    """

    source: str
    source_bytes: int
    imatrix: str | None
    found: tuple[FoundRecipe, ...]
    n_ctx: int
    passages: int
    n_scored: int
    n_held_out: int
    texts_sha256: str
    fast: FastTypes | None
    measured: int
    reused: int
    seconds: float

    def records(self) -> list[dict[str, Any]]:
        """A target each."""
        own = {"source": self.source, "n_scored": self.n_scored, "n_held_out": self.n_held_out}
        rows = []
        for of in self.found:
            facts = of.to_dict()
            del facts["recipe"], facts["rounds"], facts["tensors"]
            rows.append({**dict(flat(facts)), **own})
        return rows

    def evidence(self, of: FoundRecipe) -> str:
        """JSON of one target's figures and of what they were measured on."""
        facts = self.to_dict()
        del facts["found"]
        return json.dumps({**facts, **of.to_dict()}, indent=1) + "\n"

    def table(self) -> Table:
        """A row for each target."""
        rows = [
            (of.target, f"{of.n_bytes / 1e6:.2f}", f"{of.bits_per_weight:.3f}", f"{of.predicted:.5f}",
             f"{of.kld.estimate:.5f}", of.kld.text(5, " to "))
            for of in self.found
        ]  # fmt: skip
        columns = ("target", "MB", "bits/weight", "predicted", "held out", "95% interval")
        return Table.of_figures("", columns, rows)

    def notes(self) -> str:
        """What the figures stand on, in a few sentences."""
        left_out = f"; {self.fast}" if self.fast else ""
        return (
            f"KLD from {self.source}, nats, as predicted, and over {self.n_held_out} predictions by which nothing was "
            f"chosen; types were chosen by {self.n_scored} in {self.passages} passages of {self.n_ctx} tokens. "
            f"{self.measured} divergences were measured and {self.reused} known before; {self.seconds:.0f} s{left_out}."
        )

    def _repr_html_(self) -> str:
        return html(self.table())
