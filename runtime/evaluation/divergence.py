"""How far a model's predictions lie from a base model's: the figures of llama-perplexity's `--kl-divergence`.

P is the base's distribution of the next token, Q the model's, t the token that came. KL(P || Q) is the mean number of
nats by which Q's code is longer than P's on P's own text; delta p is Q(t) - P(t). Errors are those of independent
tokens, as llama.cpp has them; the intervals know that tokens of a chunk depend on one another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.evaluation.statistics import LEVEL, Floats, Interval, Verdict, block_bootstrap, exp, mean_error
from subbyte.runtime.records import Record

KLD_PERCENTILES = (100, 99.9, 99, 95, 90, 50, 10, 5, 1, 0.1, 0)
DELTA_P_PERCENTILES = (100, 99.9, 99, 95, 90, 75, 50, 25, 10, 5, 1, 0.1, 0)


@dataclass(frozen=True, eq=False, slots=True)
class TokenFigures:
    """Of every target token t: -ln Q(t), -ln P(t) and KL(P || Q) in nats, float64 [chunks, n]; whether the likeliest
    tokens agree, bool [chunks, n].
    """

    loss: Floats
    loss_base: Floats
    kld: Floats
    same_top: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate(Record):
    """A value and its standard error."""

    value: float
    error: float

    def text(self, decimals: int, factor: float = 1) -> str:
        """Both times a factor, as "1.234 ± 0.005"."""
        return f"{factor * self.value:.{decimals}f} ± {factor * self.error:.{decimals}f}"


@dataclass(frozen=True, slots=True)
class Divergence(Record):
    """How model Q differs from the base P. KLD and logarithms in nats; probabilities from 0 to 1, not in percent."""

    model: str
    ppl: Estimate
    ppl_base: Estimate
    correlation: float
    """between the losses of Q and of P; nan where one never changes"""
    log_ratio: Estimate
    """ln(PPL(Q) / PPL(P))"""
    ratio: Estimate
    difference: Estimate
    kld: Estimate
    kld_percentiles: dict[str, float]
    """by "100" (the maximum), "99.9" … "0" (the minimum)"""
    delta_p: Estimate
    delta_p_percentiles: dict[str, float]
    delta_p_rms: Estimate
    same_top: Estimate
    kld_interval: Interval
    """block bootstrap over the chunks"""
    log_ratio_interval: Interval
    verdict: Verdict
    """whether Q predicts the text better or worse than P, from log_ratio_interval, or is P"""


def divergence(model: str, tokens: TokenFigures, *, identical: bool) -> Divergence:
    """All figures of a model from those of its tokens. identical: its file holds the same as the base's."""
    loss, base = tokens.loss.ravel(), tokens.loss_base.ravel()
    log_ppl, log_ppl_base = mean_error(loss), mean_error(base)
    ppl, ppl_base = exp(log_ppl[0]), exp(log_ppl_base[0])
    # Errors of differences come from the differences themselves: the same in exact numbers as llama.cpp's
    # sqrt(a^2 + b^2 - 2 cov), but 0 where all are.
    log_ratio = Estimate(*mean_error(loss - base))
    ratio = exp(log_ratio.value)
    delta_p = np.exp(-loss) - np.exp(-base)
    square, square_error = mean_error(delta_p * delta_p)
    rms = math.sqrt(square)
    same = float(tokens.same_top.mean())
    log_ratio_interval = block_bootstrap((tokens.loss - tokens.loss_base).mean(axis=1), LEVEL)
    return Divergence(
        model=model,
        ppl=Estimate(ppl, ppl * log_ppl[1]),
        ppl_base=Estimate(ppl_base, ppl_base * log_ppl_base[1]),
        correlation=_correlation(loss, base),
        log_ratio=log_ratio,
        ratio=Estimate(ratio, ratio * log_ratio.error),
        difference=_difference(ppl, loss, ppl_base, base),
        kld=Estimate(*mean_error(tokens.kld.ravel())),
        kld_percentiles=_percentiles(tokens.kld, KLD_PERCENTILES),
        delta_p=Estimate(*mean_error(delta_p)),
        delta_p_percentiles=_percentiles(delta_p, DELTA_P_PERCENTILES),
        delta_p_rms=Estimate(rms, 0.5 / rms * square_error if rms > 0 else 0.0),
        same_top=Estimate(same, math.sqrt(same * (1 - same) / max(tokens.same_top.size - 1, 1))),
        kld_interval=block_bootstrap(tokens.kld.mean(axis=1), LEVEL),
        log_ratio_interval=log_ratio_interval,
        verdict="identical" if identical else log_ratio_interval.verdict,
    )


def _difference(ppl: float, loss: Floats, ppl_base: float, base: Floats) -> Estimate:
    """Of two perplexities, whose errors are those of their losses times themselves; nan where they have no number."""
    with np.errstate(invalid="ignore"):
        return Estimate(ppl - ppl_base, mean_error(ppl * loss - ppl_base * base)[1])


def _correlation(a: Floats, b: Floats) -> float:
    spread = float(a.std() * b.std())
    return float(((a - a.mean()) * (b - b.mean())).mean()) / spread if spread > 0 else math.nan


def _percentiles(values: Floats, percents: tuple[float, ...]) -> dict[str, float]:
    percentiles = np.percentile(values, percents)
    return {f"{percent:g}": float(value) for percent, value in zip(percents, percentiles, strict=True)}
