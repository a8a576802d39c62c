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
MAX_EXP = 709.0  # e to the power of more is no float64


def exp(x: float) -> float:
    """e^x, infinite where no float64 holds it."""
    return math.exp(x) if x < MAX_EXP else math.inf


def mean_error(values: Floats) -> tuple[float, float]:
    """Mean of independent values and its standard error, as llama.cpp has it: sqrt((E[x^2] - E[x]^2) / (n - 1))."""
    return _mean_error(float(values.mean()), float((values * values).mean()), len(values))


def _mean_error(mean: float, mean_square: float, n: int) -> tuple[float, float]:
    return mean, math.sqrt(max(mean_square - mean * mean, 0.0) / (n - 1)) if n > 1 else math.inf


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


def block_bootstrap(blocks: Floats, level: float = LEVEL, seed: int = 0) -> Interval:
    """Mean of block means, with its bootstrap-t interval (Efron and Tibshirani, 1993, chapter 12).

    blocks: means over runs of consecutive tokens, nearly independent of one another: chunks, whose caches begin empty.
    Tokens within a block depend on each other, so blocks are drawn whole (Künsch, 1989). The interval is studentized:
    with few blocks, plain percentiles are too narrow. The same blocks and seed give the same interval. Too few blocks
    give an infinite one, unless all they say is 0 (two equal files).
    """
    n = len(blocks)
    mean = float(blocks.mean())
    if not blocks.any():
        return Interval(0.0, 0.0, 0.0, level)
    if n < MIN_BLOCKS:
        return Interval(mean, -math.inf, math.inf, level)
    error = float(blocks.std(ddof=1)) / math.sqrt(n)
    t = _studentized(blocks - mean, np.random.default_rng(seed))
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, mean - float(high) * error, mean - float(low) * error, level)


def _studentized(centred: Floats, rng: np.random.Generator) -> Floats:
    """Resampled means over their own standard errors; those of a resample without spread are taken as infinite."""
    n = len(centred)
    at_once = max(MAX_DRAWS // n, 1)
    parts = [
        _mean_and_deviation(centred, rng, min(at_once, RESAMPLES - i)) for i in range(0, RESAMPLES, at_once)
    ]  # fmt: skip
    means, deviations = map(np.concatenate, zip(*parts, strict=True))
    error = deviations / math.sqrt(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        t: Floats = np.where(error > 0, means / error, np.copysign(np.inf, means))
    return t


def _mean_and_deviation(values: Floats, rng: np.random.Generator, n_resamples: int) -> tuple[Floats, Floats]:
    draws = values[rng.integers(0, len(values), (n_resamples, len(values)))]
    return draws.mean(axis=1), draws.std(axis=1, ddof=1)


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

    def settles(self, losses: Sequence[Sequence[float]]) -> bool:
        """Looks at the mean losses of the chunks of each model; whether all differ from the first by now."""
        self._taken += 1
        n = len(losses[0])
        self._next = n + max(n // 2, 1)
        first, *others = np.array(losses)
        return all(block_bootstrap(other - first, self.level).is_decided for other in others)
