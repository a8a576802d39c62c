"""What a comparison of models with a base found, and its tables, in llama-perplexity's order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from subbyte.runtime.compare.layers import LayerError
from subbyte.runtime.evaluation.divergence import Divergence, PartDivergence, TokenFigures
from subbyte.runtime.evaluation.scored import ScoredTokens
from subbyte.runtime.evaluation.statistics import Interval
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.tables import Table, flat, html, short_names

_THAN = {"better": " than the base", "worse": " than the base", "identical": ": it is the base"}
_PERCENTILES = {"100": "Maximum", "50": "Median", "0": "Minimum"}
_TAIL = ("100", "99.9", "99", "95", "50")
_WORST = ("50", "10", "5", "1", "0.1", "0")


@dataclass(frozen=True, slots=True)
class CompareRun(Record, Tabular):
    """Models against a base over the same tokens. layers: of each model, if they were asked for.

    per_token: of each model what its figures come from, see `TokenFigures`.
    """

    base: str
    results: tuple[Divergence, ...]
    layers: tuple[tuple[LayerError, ...], ...]
    per_token: tuple[TokenFigures, ...]
    tokens: ScoredTokens
    """which these are"""
    n_ctx: int
    chunks: int
    total_chunks: int
    """of the whole text, or as many as were asked for: more than `chunks` where the run was ended early"""
    n_tokens: int | None
    """of the whole text; None where no more of it was tokenized than the chunks take"""
    n_scored: int
    text_sha256: str | None
    """None of a base file, which holds tokens only"""
    cache_type: str
    activations: str
    seconds: float

    def delta(self, a: int, b: int) -> Interval:
        """Mean KLD of model a minus that of model b, by their indices in `results`: whether a is closer to the base."""
        return self.tokens.interval(self.per_token[a].kld - self.per_token[b].kld)

    def to_dict(self) -> dict[str, Any]:
        """All but the values of single tokens; deltas: of each model's KLD from the first model's."""
        apart = ("results", "layers", "per_token", "tokens")
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in apart}
        return {
            **plain,
            "results": [result.to_dict() for result in self.results],
            "deltas": [self.delta(i, 0).to_dict() for i in range(1, len(self.results))],
            "layers": [[layer.to_dict() for layer in layers] for layers in self.layers],
        }

    def records(self) -> list[dict[str, Any]]:
        """A model each, every figure of `Divergence` by its joined names, and the conditions."""
        shared = ("base", "n_ctx", "chunks", "n_scored", "text_sha256", "cache_type", "activations")
        conditions = {name: getattr(self, name) for name in shared}
        return [{**dict(flat(result.to_dict())), **conditions} for result in self.results]

    def tables(self) -> list[Table]:
        """A column for each model; the last table, if it was asked for, has a row for each layer."""
        columns = ("", *short_names([result.model for result in self.results]))
        makers: dict[str, Callable[[int, Divergence], Sequence[tuple[str, str]]]] = {
            "Perplexity": lambda _, r: _ppl_rows(r),
            "KL divergence, nats": lambda _, r: _kld_rows(r),
            "Token probability": lambda _, r: _delta_p_rows(r),
            "Flips and acceptance": lambda _, r: _flip_rows(r),
            "By text": lambda _, r: _part_rows(r.domains),
            "By tokens before the one predicted": lambda _, r: _part_rows(r.positions),
            "Decision": self._decision_rows,
        }
        tables = []
        for title, make in makers.items():
            parts = [make(i, result) for i, result in enumerate(self.results)]
            rows = [(label, *(part[k][1] for part in parts)) for k, (label, _) in enumerate(parts[0])]
            if rows:
                tables.append(Table.of_figures(title, columns, rows))
        return [*tables, self._layers_table(columns)] if self.layers else tables

    def _decision_rows(self, i: int, r: Divergence) -> list[tuple[str, str]]:
        level = f"{100 * r.kld_interval.level:g}%"
        rows = [
            (f"Mean KLD, {level}", _interval(r.kld_interval)),
            (f"ln(PPL(Q)/PPL(base)), {level}", _interval(r.log_ratio_interval)),
            (f"Expected acceptance, {level}", _percents(r.acceptance_interval)),
            (f"Same top p, {level}", _percents(r.same_top_interval)),
            (f"Right: Q - base, {level}", _percents(r.right_interval)),
            ("Q predicts the text", f"{r.verdict}{_THAN.get(r.verdict, '')}"),
        ]
        if len(self.results) > 1:
            first = short_names([result.model for result in self.results])[0]
            rows.append((f"KLD - KLD({first}), {level}", _interval(self.delta(i, 0)) if i else ""))
        return rows

    def _layers_table(self, columns: tuple[str, ...]) -> Table:
        rows = [
            (layers[0].name, *(f"{100 * layer.relative:.3f}%  {layer.cosine:.6f}" for layer in layers))
            for layers in zip(*self.layers, strict=True)
        ]
        return Table.of_figures("Residual stream behind each layer: error relative to the base, cosine", columns, rows)

    def _repr_html_(self) -> str:
        return html(*self.tables())


def _ppl_rows(r: Divergence) -> list[tuple[str, str]]:
    return [
        ("Mean PPL(Q)", r.ppl.text(6)),
        ("Mean PPL(base)", r.ppl_base.text(6)),
        ("Cor(ln(PPL(Q)), ln(PPL(base)))", f"{100 * r.correlation:.2f}%"),
        ("Mean ln(PPL(Q)/PPL(base))", r.log_ratio.text(6)),
        ("Mean PPL(Q)/PPL(base)", r.ratio.text(6)),
        ("Mean PPL(Q)-PPL(base)", r.difference.text(6)),
    ]


def _kld_rows(r: Divergence) -> list[tuple[str, str]]:
    percentiles = ((_percentile(name, "KLD"), f"{value:.6f}") for name, value in r.kld_percentiles.items())
    reverse = ((_percentile(name, "KLD(Q‖base)"), f"{r.kld_reverse_percentiles[name]:.6f}") for name in _TAIL)
    return [("Mean KLD", r.kld.text(6)), *percentiles, ("Mean KLD(Q‖base)", r.kld_reverse.text(6)), *reverse]


def _delta_p_rows(r: Divergence) -> list[tuple[str, str]]:
    percentiles = ((_percentile(name, "Δp"), f"{100 * value:.3f}%") for name, value in r.delta_p_percentiles.items())
    return [
        ("Mean Δp", f"{r.delta_p.text(3, 100)}%"),
        *percentiles,
        ("RMS Δp", f"{r.delta_p_rms.text(3, 100)}%"),
        ("Same top p", f"{r.same_top.text(3, 100)}%"),
    ]


def _flip_rows(r: Divergence) -> list[tuple[str, str]]:
    worst = ((_percentile(name, "acceptance"), f"{100 * r.acceptance_percentiles[name]:.3f}%") for name in _WORST)
    return [
        ("Expected acceptance", f"{r.acceptance.text(3, 100)}%"),
        *worst,
        ("Right: the token is Q's likeliest", f"{r.right.text(3, 100)}%"),
        ("Right: it is the base's likeliest", f"{r.right_base.text(3, 100)}%"),
        ("Right → wrong", f"{r.right_to_wrong.text(3, 100)}%"),
        ("Wrong → right", f"{r.wrong_to_right.text(3, 100)}%"),
    ]


def _part_rows(parts: Mapping[str, PartDivergence]) -> list[tuple[str, str]]:
    """Nothing where there is one part only."""
    if len(parts) < 2:
        return []
    rows = []
    for name, part in parts.items():
        rows += [
            (f"{name}: Mean KLD", part.kld.text(6)),
            (f"{name}: ln(PPL(Q)/PPL(base))", part.log_ratio.text(6)),
            (f"{name}: Expected acceptance", f"{part.acceptance.text(3, 100)}%"),
            (f"{name}: Same top p", f"{part.same_top.text(3, 100)}%"),
        ]
    return rows


def _percentile(name: str, what: str) -> str:
    return f"{_PERCENTILES.get(name) or f'{float(name):.{max(1, len(name) - 3)}f}%'} {what}"


def _percents(of: Interval) -> str:
    """An interval of shares, or of their difference; the ends of an infinite one are words."""
    percents = Interval(100 * of.estimate, 100 * of.low, 100 * of.high, of.level)
    return percents.text(3, "% to ") + "%" * math.isfinite(of.low)


def _interval(of: Interval) -> str:
    return of.text(6, " to ")
