"""How far a model's predictions lie from a base model's: the figures of llama-perplexity's `--kl-divergence`, and more.

P is the base's distribution of the next token, Q the model's, t the token that came. KL(P || Q) is the mean number of
nats by which Q's code is longer than P's on P's own text, KL(Q || P) the same on Q's own; delta p is Q(t) - P(t).
Acceptance is the sum of min(P, Q): how often a token drawn from Q would stand in P's place in speculative sampling
(Leviathan et al., 2023), 1 minus the total variation distance. A flip is a token that one model has as its likeliest
and the other has not. Flips of both directions cancel in accuracy, but not here ("Accuracy is Not All You Need", Dutta
et al., 2024). Errors are those of independent tokens, as llama.cpp has them; the intervals know that tokens of a chunk
depend on one another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.evaluation.scored import ScoredTokens
from subbyte.runtime.evaluation.statistics import Estimate, Floats, Interval, Verdict, exp, mean_error, share
from subbyte.runtime.records import Record

KLD_PERCENTILES = (100, 99.99, 99.9, 99, 95, 90, 75, 50, 25, 10, 5, 1, 0.1, 0)
DELTA_P_PERCENTILES = (100, 99.9, 99, 95, 90, 75, 50, 25, 10, 5, 1, 0.1, 0)
ACCEPTANCE_PERCENTILES = (50, 25, 10, 5, 1, 0.1, 0)


@dataclass(frozen=True, eq=False, slots=True)
class TokenFigures:
    """Of every target token t, one after the other, float64 [n]: -ln Q(t) and -ln P(t), KL(P || Q) and KL(Q || P) in
    nats, the sum of min(P, Q); bool [n]: whether the likeliest tokens agree, and whether t is Q's and P's likeliest.
    """

    loss: Floats
    loss_base: Floats
    kld: Floats
    kld_reverse: Floats
    acceptance: Floats
    same_top: NDArray[np.bool_]
    right: NDArray[np.bool_]
    right_base: NDArray[np.bool_]

    def of(self, tokens: NDArray[np.bool_]) -> TokenFigures:
        """Those of some tokens."""
        return TokenFigures(*(getattr(self, name)[tokens] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class PartDivergence(Record):
    """How Q differs from P in a part of the tokens: of one text, or at some positions. Units as in `Divergence`."""

    n_scored: int
    ppl: Estimate
    ppl_base: Estimate
    log_ratio: Estimate
    kld: Estimate
    kld_interval: Interval
    kld_reverse: Estimate
    acceptance: Estimate
    same_top: Estimate
    right_to_wrong: Estimate
    wrong_to_right: Estimate


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
    """KL(P || Q)"""
    kld_percentiles: dict[str, float]
    """by "100" (the maximum), "99.9" … "0" (the minimum)"""
    kld_reverse: Estimate
    """KL(Q || P)"""
    kld_reverse_percentiles: dict[str, float]
    delta_p: Estimate
    delta_p_percentiles: dict[str, float]
    delta_p_rms: Estimate
    acceptance: Estimate
    """mean of the sum of min(P, Q)"""
    acceptance_percentiles: dict[str, float]
    same_top: Estimate
    right: Estimate
    """how many tokens of the text are Q's likeliest; right_base: P's"""
    right_base: Estimate
    right_to_wrong: Estimate
    """how many tokens of the text are P's likeliest and not Q's"""
    wrong_to_right: Estimate
    """how many are Q's likeliest and not P's"""
    kld_interval: Interval
    """block bootstrap over the chunks, as all intervals"""
    kld_reverse_interval: Interval
    acceptance_interval: Interval
    same_top_interval: Interval
    right_interval: Interval
    """of right - right_base"""
    log_ratio_interval: Interval
    verdict: Verdict
    """whether Q predicts the text better or worse than P, from log_ratio_interval, or is P"""
    domains: dict[str, PartDivergence]
    """of each text by its name, where there are several"""
    positions: dict[str, PartDivergence]
    """by the number of tokens before the one predicted, "256-319" """


def divergence(model: str, of: TokenFigures, tokens: ScoredTokens, *, identical: bool) -> Divergence:
    """All figures of a model from those of its tokens. identical: its file holds the same as the base's."""
    loss, base = of.loss, of.loss_base
    log_ppl, log_ppl_base = mean_error(loss), mean_error(base)
    ppl, ppl_base = exp(log_ppl[0]), exp(log_ppl_base[0])
    # Errors of differences come from the differences themselves: the same in exact numbers as llama.cpp's
    # sqrt(a^2 + b^2 - 2 cov), but 0 where all are.
    log_ratio = Estimate(*mean_error(loss - base))
    ratio = exp(log_ratio.value)
    delta_p = np.exp(-loss) - np.exp(-base)
    square, square_error = mean_error(delta_p * delta_p)
    rms = math.sqrt(square)
    log_ratio_interval = tokens.interval(loss - base)
    return Divergence(
        model=model,
        ppl=Estimate(ppl, ppl * log_ppl[1]),
        ppl_base=Estimate(ppl_base, ppl_base * log_ppl_base[1]),
        correlation=_correlation(loss, base),
        log_ratio=log_ratio,
        ratio=Estimate(ratio, ratio * log_ratio.error),
        difference=_difference(ppl, loss, ppl_base, base),
        kld=Estimate(*mean_error(of.kld)),
        kld_percentiles=_percentiles(of.kld, KLD_PERCENTILES),
        kld_reverse=Estimate(*mean_error(of.kld_reverse)),
        kld_reverse_percentiles=_percentiles(of.kld_reverse, KLD_PERCENTILES),
        delta_p=Estimate(*mean_error(delta_p)),
        delta_p_percentiles=_percentiles(delta_p, DELTA_P_PERCENTILES),
        delta_p_rms=Estimate(rms, 0.5 / rms * square_error if rms > 0 else 0.0),
        acceptance=Estimate(*mean_error(of.acceptance)),
        acceptance_percentiles=_percentiles(of.acceptance, ACCEPTANCE_PERCENTILES),
        same_top=share(of.same_top),
        right=share(of.right),
        right_base=share(of.right_base),
        right_to_wrong=share(of.right_base & ~of.right),
        wrong_to_right=share(of.right & ~of.right_base),
        kld_interval=tokens.interval(of.kld),
        kld_reverse_interval=tokens.interval(of.kld_reverse),
        acceptance_interval=tokens.interval(of.acceptance),
        same_top_interval=tokens.interval(of.same_top.astype(np.float64)),
        right_interval=tokens.interval(of.right.astype(np.float64) - of.right_base),
        log_ratio_interval=log_ratio_interval,
        verdict="identical" if identical else log_ratio_interval.verdict,
        domains={name: _part(of, tokens, some) for name, some in tokens.domains()},
        positions={name: _part(of, tokens, some) for name, some in tokens.positions()},
    )


def _part(of_all: TokenFigures, tokens: ScoredTokens, some: NDArray[np.bool_]) -> PartDivergence:
    of = of_all.of(some)
    ppl, ppl_base = (Estimate(exp(mean), exp(mean) * error) for mean, error in map(mean_error, (of.loss, of.loss_base)))
    return PartDivergence(
        n_scored=len(of.loss),
        ppl=ppl,
        ppl_base=ppl_base,
        log_ratio=Estimate(*mean_error(of.loss - of.loss_base)),
        kld=Estimate(*mean_error(of.kld)),
        kld_interval=tokens.interval(of_all.kld, of=some),
        kld_reverse=Estimate(*mean_error(of.kld_reverse)),
        acceptance=Estimate(*mean_error(of.acceptance)),
        same_top=share(of.same_top),
        right_to_wrong=share(of.right_base & ~of.right),
        wrong_to_right=share(of.right & ~of.right_base),
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
