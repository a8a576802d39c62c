"""How sure a count of right answers is: intervals of one proportion and of two that were measured on the same cases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from subbyte.runtime.evaluation.statistics import LEVEL, Interval, Verdict
from subbyte.runtime.records import Record

SIGNIFICANT = 0.05  # the p of McNemar's test below which two models differ


@dataclass(frozen=True, slots=True)
class Paired(Record):
    """Two models on the same cases, by how many each of them answered right.

    difference: of the accuracies, this one's minus the base's, with its interval. p: McNemar's exact test, two-sided,
    of the cases that only one of them answered right: how probable a split as uneven is where both are as good.
    """

    both: int
    base_only: int
    this_only: int
    neither: int
    difference: Interval
    p: float

    @classmethod
    def of(cls, both: int, base_only: int, this_only: int, neither: int, level: float = LEVEL) -> Paired:
        """The comparison of these counts, at least one case."""
        difference = paired_difference(both, base_only, this_only, neither, level)
        return cls(both, base_only, this_only, neither, difference, mcnemar(base_only, this_only))

    @property
    def verdict(self) -> Verdict:
        """Whether this one is better or worse than the base, by McNemar's test."""
        if self.p >= SIGNIFICANT:
            return "undecided"
        return "better" if self.this_only > self.base_only else "worse"


def proportion(k: int, n: int, level: float = LEVEL) -> Interval:
    """k of n, with Wilson's score interval (1927), which holds for small n and near 0 and 1, too; n at least 1."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    p, spread = k / n, z * z / n
    centre = (p + spread / 2) / (1 + spread)
    half = math.sqrt(p * (1 - p) * spread + spread * spread / 4) / (1 + spread)
    return Interval(p, min(max(centre - half, 0.0), p), max(min(centre + half, 1.0), p), level)


def paired_difference(both: int, base_only: int, this_only: int, neither: int, level: float = LEVEL) -> Interval:
    """The difference of two proportions of the same cases, with Newcombe's interval.

    It puts Wilson's intervals of the two together by their correlation (Newcombe 1998, Statistics in Medicine 17:2635,
    method 10). A bootstrap would give no interval at all where few cases differ, as is usual here.
    """
    n = both + base_only + this_only + neither
    base, this = proportion(both + base_only, n, level), proportion(both + this_only, n, level)
    below, above = (
        (this.estimate - this.low, base.high - base.estimate),
        (this.high - this.estimate, base.estimate - base.low),
    )
    phi = _correlation(both, base_only, this_only, neither)
    d = (this_only - base_only) / n
    low, high = (math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0)) for a, b in (below, above))
    return Interval(d, d - low, d + high, level)


def mcnemar(base_only: int, this_only: int) -> float:
    """The exact p of McNemar's test, two-sided: of a fair coin's throws, one for each case in which the two differ."""
    n, fewer = base_only + this_only, min(base_only, this_only)

    def log_chance(heads: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(heads + 1) - math.lgamma(n - heads + 1) - n * math.log(2)

    return min(2 * math.fsum(math.exp(log_chance(heads)) for heads in range(fewer + 1)), 1.0)


def _correlation(both: int, base_only: int, this_only: int, neither: int) -> float:
    """The phi coefficient, with Newcombe's correction for continuity where it is positive."""
    margins = (both + base_only) * (this_only + neither) * (both + this_only) * (base_only + neither)
    if not margins:
        return 0.0
    n = both + base_only + this_only + neither
    determinant: float = both * neither - base_only * this_only
    if determinant > 0:
        determinant = max(determinant - n / 2, 0.0)
    return determinant / math.sqrt(margins)
