"""What a comparison of models with a base found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from subbyte.runtime.compare.layers import LayerError
from subbyte.runtime.compare.table import compare_tables
from subbyte.runtime.evaluation.divergence import Divergence, Scored
from subbyte.runtime.evaluation.statistics import LEVEL, Interval, block_bootstrap
from subbyte.runtime.evaluation.tables import html
from subbyte.runtime.records import Record


@dataclass(frozen=True, slots=True)
class CompareRun(Record):
    """Models against a base over the same tokens. layers: of each model, if they were asked for.

    scored: of each model what its figures come from, see `Scored`.
    """

    base: str
    results: tuple[Divergence, ...]
    layers: tuple[tuple[LayerError, ...], ...]
    scored: tuple[Scored, ...]
    n_ctx: int
    chunks: int
    n_tokens: int
    """tokens of the whole text"""
    n_scored: int
    text_sha256: str | None
    """None of a base file, which holds tokens only"""
    cache_type: str
    activations: str
    seconds: float

    def delta(self, a: int, b: int) -> Interval:
        """Mean KLD of model a minus that of model b, by their places in `results`: whether a is closer to the base."""
        return block_bootstrap((self.scored[a].kld - self.scored[b].kld).mean(axis=1), LEVEL)

    def to_dict(self) -> dict[str, Any]:
        """All but the values of single tokens; deltas: of each model's KLD from the first model's."""
        known = {name: getattr(self, name) for name in self.__slots__ if name not in ("results", "layers", "scored")}
        return {
            **known,
            "results": [result.to_dict() for result in self.results],
            "deltas": [self.delta(i, 0).to_dict() for i in range(1, len(self.results))],
            "layers": [[layer.to_dict() for layer in layers] for layers in self.layers],
        }

    def _repr_html_(self) -> str:
        return html(compare_tables(self))
