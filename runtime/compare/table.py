"""Comparisons as tables, in llama-perplexity's order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from subbyte.runtime.evaluation.divergence import Divergence, Estimate
from subbyte.runtime.evaluation.statistics import Interval
from subbyte.runtime.evaluation.tables import Table, short_names

if TYPE_CHECKING:
    from subbyte.runtime.compare.attribution_result import BlameRun
    from subbyte.runtime.compare.result import CompareRun

_NAMES = {"100": "Maximum", "50": "Median", "0": "Minimum"}  # of percentiles


def compare_tables(run: CompareRun) -> list[Table]:
    """A column for each model."""
    columns = ("", *short_names([result.model for result in run.results]))
    all_rows = [
        (_ppl_rows(r), _kld_rows(r), _delta_p_rows(r), _decision_rows(run, i)) for i, r in enumerate(run.results)
    ]
    titles = ("Perplexity", "KL divergence, nats", "Token probability", "Decision")
    found = []
    for title, parts in zip(titles, zip(*all_rows, strict=True), strict=True):
        labels = [label for label, _ in parts[0]]
        cells = zip(*([cell for _, cell in part] for part in parts), strict=True)
        found.append(Table(title, columns, [(label, *row) for label, row in zip(labels, cells, strict=True)]))
    return [*found, _layers_table(run, columns)] if run.layers else found


def blame_table(run: BlameRun) -> Table:
    """A row for each group, the dearest first."""
    rows = [
        (b.group, b.types, f"{b.base_bytes / 1e6:.2f}", f"{b.n_bytes / 1e6:.2f}", _estimate(b.kld, 6),
         f"{b.kld_per_mb:.4g}")
        for b in run.groups
    ]  # fmt: skip
    columns = (run.by, "types", "MB of base", "MB", "KLD", "KLD per MB saved")
    name = short_names([run.model])[0]
    if not rows:
        return Table(f"Blame: nothing differs between the base and {name}", columns, rows)
    sums = f"all of {name} {_estimate(run.whole, 6)}, sum of parts {sum(b.kld.value for b in run.groups):.6f}"
    return Table(f"Blame: KLD of the base with one part of {name} at a time; {sums}", columns, rows)


def _ppl_rows(r: Divergence) -> list[tuple[str, str]]:
    return [
        ("Mean PPL(Q)", _estimate(r.ppl, 6)),
        ("Mean PPL(base)", _estimate(r.ppl_base, 6)),
        ("Cor(ln(PPL(Q)), ln(PPL(base)))", f"{100 * r.correlation:.2f}%"),
        ("Mean ln(PPL(Q)/PPL(base))", _estimate(r.log_ratio, 6)),
        ("Mean PPL(Q)/PPL(base)", _estimate(r.ratio, 6)),
        ("Mean PPL(Q)-PPL(base)", _estimate(r.difference, 6)),
    ]


def _kld_rows(r: Divergence) -> list[tuple[str, str]]:
    percentiles = ((_percent(name, "KLD"), f"{value:.6f}") for name, value in r.kld_percentiles.items())
    return [("Mean KLD", _estimate(r.kld, 6)), *percentiles]


def _delta_p_rows(r: Divergence) -> list[tuple[str, str]]:
    percentiles = ((_percent(name, "Δp"), f"{100 * value:.3f}%") for name, value in r.delta_p_percentiles.items())
    return [
        ("Mean Δp", f"{_estimate(r.delta_p, 3, 100)}%"),
        *percentiles,
        ("RMS Δp", f"{_estimate(r.delta_p_rms, 3, 100)}%"),
        ("Same top p", f"{_estimate(r.same_top, 3, 100)}%"),
    ]


def _decision_rows(run: CompareRun, i: int) -> list[tuple[str, str]]:
    r = run.results[i]
    level = f"{100 * r.kld_interval.level:g}%"
    rows = [
        (f"Mean KLD, {level}", _interval(r.kld_interval)),
        (f"ln(PPL(Q)/PPL(base)), {level}", _interval(r.log_ratio_interval)),
        ("Q predicts the text", r.verdict if r.verdict == "undecided" else f"{r.verdict} than the base"),
    ]
    if len(run.results) > 1:
        first = short_names([result.model for result in run.results])[0]
        rows.append((f"KLD - KLD({first}), {level}", _interval(run.delta(i, 0)) if i else ""))
    return rows


def _layers_table(run: CompareRun, columns: tuple[str, ...]) -> Table:
    rows = [
        (layers[0].name, *(f"{100 * layer.relative:.3f}%  {layer.cosine:.6f}" for layer in layers))
        for layers in zip(*run.layers, strict=True)
    ]
    return Table("Residual stream behind each layer: error relative to the base, cosine", columns, rows)


def _percent(name: str, what: str) -> str:
    return f"{_NAMES.get(name) or f'{float(name):.1f}%'} {what}"


def _estimate(of: Estimate, decimals: int, factor: float = 1) -> str:
    return f"{factor * of.value:.{decimals}f} ± {factor * of.error:.{decimals}f}"


def _interval(of: Interval) -> str:
    return f"{of.low:.6f} to {of.high:.6f}"
