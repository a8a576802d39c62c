"""What a comparison of models with a base found, and its tables, in llama-perplexity's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from subbyte.runtime.compare.layers import LayerError
from subbyte.runtime.evaluation.divergence import Divergence, TokenFigures
from subbyte.runtime.evaluation.statistics import LEVEL, Interval, block_bootstrap
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.tables import Table, flat, html, short_names

_THAN = {"better": " than the base", "worse": " than the base", "identical": ": it is the base"}
_PERCENTILES = {"100": "Maximum", "50": "Median", "0": "Minimum"}


@dataclass(frozen=True, slots=True)
class CompareRun(Record, Tabular):
    """Models against a base over the same tokens. layers: of each model, if they were asked for.

    per_token: of each model what its figures come from, see `TokenFigures`.
    """

    base: str
    results: tuple[Divergence, ...]
    layers: tuple[tuple[LayerError, ...], ...]
    per_token: tuple[TokenFigures, ...]
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
        return block_bootstrap((self.per_token[a].kld - self.per_token[b].kld).mean(axis=1), LEVEL)

    def to_dict(self) -> dict[str, Any]:
        """All but the values of single tokens; deltas: of each model's KLD from the first model's."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in ("results", "layers", "per_token")}
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
        all_rows = [
            (_ppl_rows(r), _kld_rows(r), _delta_p_rows(r), self._decision_rows(i)) for i, r in enumerate(self.results)
        ]
        titles = ("Perplexity", "KL divergence, nats", "Token probability", "Decision")
        tables = []
        for title, parts in zip(titles, zip(*all_rows, strict=True), strict=True):
            labels = [label for label, _ in parts[0]]
            cells = zip(*([cell for _, cell in part] for part in parts), strict=True)
            tables.append(
                Table.of_figures(title, columns, [(label, *row) for label, row in zip(labels, cells, strict=True)])
            )
        return [*tables, self._layers_table(columns)] if self.layers else tables

    def _decision_rows(self, i: int) -> list[tuple[str, str]]:
        r = self.results[i]
        level = f"{100 * r.kld_interval.level:g}%"
        rows = [
            (f"Mean KLD, {level}", _interval(r.kld_interval)),
            (f"ln(PPL(Q)/PPL(base)), {level}", _interval(r.log_ratio_interval)),
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
    return [("Mean KLD", r.kld.text(6)), *percentiles]


def _delta_p_rows(r: Divergence) -> list[tuple[str, str]]:
    percentiles = ((_percentile(name, "Δp"), f"{100 * value:.3f}%") for name, value in r.delta_p_percentiles.items())
    return [
        ("Mean Δp", f"{r.delta_p.text(3, 100)}%"),
        *percentiles,
        ("RMS Δp", f"{r.delta_p_rms.text(3, 100)}%"),
        ("Same top p", f"{r.same_top.text(3, 100)}%"),
    ]


def _percentile(name: str, what: str) -> str:
    return f"{_PERCENTILES.get(name) or f'{float(name):.1f}%'} {what}"


def _interval(of: Interval) -> str:
    return of.text(6, " to ")
