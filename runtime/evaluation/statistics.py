"""How sure a measurement is: standard errors, intervals of paired differences, verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.records import Record

Floats: TypeAlias = NDArray[np.float64]
Verdict: TypeAlias = Literal["better", "worse", "undecided", "identical"]
"""identical: nothing to decide, the files hold the same model to the last byte."""

LEVEL = 0.95
RESAMPLES = 4000
MAX_DRAWS = 1 << 22  # held at once: of a long text there are many blocks
MIN_BLOCKS = 4  # of less, a resample is too often the same block again and again
FIRST_LOOK = 8  # chunks before a difference is first judged
_NO_SPREAD = 1e200  # in place of infinity, between two of which quantiles can't be interpolated
MAX_EXP = 709.0  # e to the power of more is no float64


def exp(x: float) -> float:
    """e^x, infinite where no float64 holds it."""
    return math.exp(x) if x < MAX_EXP else math.inf


def mean_error(values: Floats) -> tuple[float, float]:
    """Mean of independent values and its standard error, as llama.cpp has it: sqrt((E[x^2] - E[x]^2) / (n - 1))."""
    return _mean_error(float(values.mean()), float((values * values).mean()), len(values))


def _mean_error(mean: float, mean_square: float, n: int) -> tuple[float, float]:
    return mean, math.sqrt(max(mean_square - mean * mean, 0.0) / (n - 1)) if n > 1 else math.inf


@dataclass(frozen=True, slots=True)
class Estimate(Record):
    """A value and its standard error."""

    value: float
    error: float

    def text(self, decimals: int, factor: float = 1) -> str:
        """Both times a factor, as "1.234 ± 0.005"."""
        return f"{factor * self.value:.{decimals}f} ± {factor * self.error:.{decimals}f}"


def share(flags: NDArray[np.bool_]) -> Estimate:
    """How many of independent tokens, at least one, are True: from 0 to 1, with the standard error of a binomial."""
    value = float(flags.mean())
    return Estimate(value, math.sqrt(value * (1 - value) / max(flags.size - 1, 1)))


class RunningMean:
    """Mean and standard error of a sample that grows; the sample itself is not kept."""

    def __init__(self) -> None:
        self._n, self._sum, self._sum_of_squares = 0, 0.0, 0.0

    def add(self, values: Floats) -> None:
        """Takes more of the sample."""
        self._n += values.size
        self._sum += float(values.sum())
        self._sum_of_squares += float((values * values).sum())

    @property
    def mean(self) -> float:
        """Of what was added, at least one value."""
        return self._sum / self._n

    def mean_error(self) -> tuple[float, float]:
        """`mean_error` of all that was added, but for the order of its sums."""
        return _mean_error(self.mean, self._sum_of_squares / self._n, self._n)


@dataclass(frozen=True, slots=True)
class Interval(Record):
    """An estimate, and between which values the truth lies at the given level of confidence."""

    estimate: float
    low: float
    high: float
    level: float

    @property
    def is_decided(self) -> bool:
        """Whether 0 is outside."""
        return self.low > 0 or self.high < 0

    @property
    def verdict(self) -> Verdict:
        """Of a difference of losses, one's minus the other's: whether the one is better (lower) than the other."""
        return "undecided" if not self.is_decided else "better" if self.high < 0 else "worse"

    def text(self, decimals: int, to: str, sign: str = "") -> str:
        """Its ends as "1.23 to 1.45"; sign: "+" for a sign before both. An infinite one is words."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return "too few chunks"
        return f"{self.low:{sign}.{decimals}f}{to}{self.high:{sign}.{decimals}f}"


def block_bootstrap(
    blocks: Floats, level: float = LEVEL, seed: int = 0, sizes: NDArray[np.integer] | None = None
) -> Interval:
    """Mean of block means, with its bootstrap-t interval (Efron and Tibshirani, 1993, chapter 12).

    blocks: means over runs of consecutive tokens, nearly independent of one another: chunks, whose caches begin empty.
    Tokens within a block depend on each other, so blocks are drawn whole (Künsch, 1989). The interval is studentized:
    with few blocks, plain percentiles are too narrow. The same blocks and seed give the same interval. Too few blocks
    give an infinite one, unless all they say is 0 (two equal files); one of no width is of enough blocks that all say
    the same. sizes: tokens of each block; the mean is that of all tokens, a ratio of two sums over blocks, whose error
    is that of its linear form. None: all have as many.
    """
    n = len(blocks)
    weights = None if sizes is None or (sizes == sizes[0]).all() else sizes / sizes.mean()
    mean = float(blocks.mean() if weights is None else (weights * blocks).mean())
    if not blocks.any():
        return Interval(0.0, 0.0, 0.0, level)
    if n < MIN_BLOCKS:
        return Interval(mean, -math.inf, math.inf, level)
    if (blocks == blocks[0]).all():
        return Interval(mean, mean, mean, level)
    centred = blocks - mean if weights is None else weights * (blocks - mean)
    error = float(centred.std(ddof=1)) / math.sqrt(n)
    t = _studentized(centred, weights, np.random.default_rng(seed))
    low, high = (_infinite(end) for end in np.quantile(t, [(1 - level) / 2, (1 + level) / 2]).tolist())
    return Interval(mean, mean - high * error, mean - low * error, level)


def _infinite(t: float) -> float:
    """What a quantile between resamples without spread is."""
    return t if abs(t) < math.sqrt(_NO_SPREAD) else math.copysign(math.inf, t)


def _studentized(centred: Floats, weights: Floats | None, rng: np.random.Generator) -> Floats:
    """Resampled means over their own standard errors; those of a resample without spread are _NO_SPREAD."""
    n = len(centred)
    at_once = max(MAX_DRAWS // n, 1)
    parts = [
        _mean_and_deviation(centred, weights, rng, min(at_once, RESAMPLES - i)) for i in range(0, RESAMPLES, at_once)
    ]  # fmt: skip
    means, deviations = map(np.concatenate, zip(*parts, strict=True))
    error = deviations / math.sqrt(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        t: Floats = np.where(error > 0, means / error, np.copysign(_NO_SPREAD, means))
    return t


def _mean_and_deviation(
    values: Floats, weights: Floats | None, rng: np.random.Generator, n_resamples: int
) -> tuple[Floats, Floats]:
    blocks = rng.integers(0, len(values), (n_resamples, len(values)))
    draws = values[blocks]
    if weights is None:
        return draws.mean(axis=1), draws.std(axis=1, ddof=1)
    drawn = weights[blocks]
    size = drawn.mean(axis=1)
    means = draws.mean(axis=1) / size
    return means, (draws - means[:, None] * drawn).std(axis=1, ddof=1) / size


class SequentialTest:
    """A test that looks at a growing sample repeatedly, with a union bound on its error.

    Who looks often enough sees a difference where there is none. The k-th look is therefore made with an error
    probability of (1 - level) / (k (k + 1)); all of them together stay within 1 - level. The first look comes after
    FIRST_LOOK chunks, others when the sample has grown by half, the last one at its end.
    """

    def __init__(self, level: float) -> None:
        self._error, self._next, self._taken = 1 - level, FIRST_LOOK, 0

    @property
    def level(self) -> float:
        """The confidence of the latest look."""
        k = self._taken
        return 1 - self._error / (k * (k + 1) if k else 1)

    def is_due(self, n_chunks: int, total: int) -> bool:
        """Whether to look after so many chunks of so many."""
        return n_chunks >= self._next or n_chunks == total

    def settles(self, losses: Sequence[Sequence[float]], sizes: Sequence[int]) -> bool:
        """Looks at the mean losses of the chunks of each model; whether all differ from the first by now.

        sizes: tokens of each chunk.
        """
        self._taken += 1
        n = len(sizes)
        self._next = n + max(n // 2, 1)
        first, *others = np.array(losses)
        return all(
            block_bootstrap(other - first, self.level, sizes=np.array(sizes)).is_decided for other in others
        )  # fmt: skip
