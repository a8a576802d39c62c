"""The divergence of a mixture, predicted from what its parts were measured to cost.

Of one matrix, divergence grows with the relative error of its type, in proportion while both are small; so a type that
was not measured is estimated from those that were. Parts of several matrices add up while they are small. Below three
bits they are not: there the whole is read off the sum of parts by the wholes that were measured, and each part is
corrected by what it costs within the mixture.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from subbyte.runtime.evaluation.statistics import Estimate, Floats

_TINY = 1e-12  # in place of 0, which has no logarithm
LOSSLESS = 1e-6  # a relative error so small that what is measured of it is rounding, and tells nothing of other types


class Curve:
    """A growing function through points, straight between their logarithms; beyond them in proportion."""

    def __init__(self, points: Iterable[tuple[float, float]]) -> None:
        ordered = np.log(np.maximum(sorted(points), _TINY))
        self._x, self._y = ordered[:, 0], np.maximum.accumulate(ordered[:, 1])

    def at(self, x: float) -> float:
        """The value at x."""
        return _read(x, self._x, self._y)

    def where(self, y: float) -> float:
        """The x at which the value is y."""
        return _read(y, self._y, self._x)


def _read(value: float, xs: Floats, ys: Floats) -> float:
    if value <= 0:
        return 0.0
    log = float(np.log(value))
    beyond = min(log - xs[0], 0.0) + max(log - xs[-1], 0.0)
    return float(np.exp(np.interp(log, xs, ys) + beyond))


class Within(NamedTuple):
    """By how much a mixture diverges less with a band, given as indices of groups, left as it is in the base; nats."""

    band: tuple[int, ...]
    saved: Estimate


@dataclass(frozen=True, eq=False)
class Costs:
    """Of each group of a model: the divergence that it causes alone, in nats, by type.

    errors: relative ones, by type. guessed: nats for an error of 1, where nothing is known. measured: the divergences
    that are known. factors: what parts are corrected by.
    """

    errors: Sequence[Mapping[str, float]]
    guessed: Sequence[float]
    measured: Sequence[Mapping[str, float]]
    factors: Floats

    def part(self, group: int, type: str) -> float:
        """What the group contributes to the sum of a mixture's parts."""
        return self.alone(group, type) * float(self.factors[group])

    def parts(self, mixture: Sequence[str]) -> Floats:
        """Of all groups, float64 [groups]."""
        return np.array([self.part(group, type) for group, type in enumerate(mixture)])

    def alone(self, group: int, type: str) -> float:
        """What the group costs with all others as in the base."""
        of = self.errors[group]
        points = [(of[other], self.measured[group][other]) for other in self.telling(group)]
        return Curve(points or [(1.0, self.guessed[group])]).at(of[type])

    def is_lossless(self, group: int, type: str) -> bool:
        """Whether a type holds the group as it is in the base, as one that the base was decoded from does."""
        return self.errors[group][type] <= LOSSLESS

    def telling(self, group: int) -> list[str]:
        """The types whose measured divergence tells of that in others."""
        return [type for type in self.measured[group] if not self.is_lossless(group, type)]


@dataclass(frozen=True, eq=False)
class Prediction:
    """costs: of the parts. wholes: mixtures whose divergence was measured."""

    costs: Costs
    wholes: tuple[tuple[tuple[str, ...], float], ...] = field(default=())

    def divergence(self, mixture: Sequence[str]) -> float:
        """Of a mixture, nats."""
        return self._whole.at(float(self.costs.parts(mixture).sum()))

    def sum_for(self, divergence: float) -> float:
        """The sum of parts at which this divergence is predicted."""
        return self._whole.where(divergence)

    def saved_by(self, mixture: Sequence[str], bands: Iterable[Sequence[int]]) -> Floats:
        """By how much a mixture is predicted to diverge less with each of these bands left as it is in the base."""
        parts = self.costs.parts(mixture)
        total = float(parts.sum())
        return np.array([self._whole.at(total) - self._whole.at(total - float(parts[[*band]].sum())) for band in bands])

    def with_whole(self, mixture: Sequence[str], divergence: float) -> Prediction:
        """That knows one mixture more."""
        return replace(self, wholes=(*self.wholes, (tuple(mixture), divergence)))

    def corrected(self, mixture: Sequence[str], within: Sequence[Within]) -> Prediction:
        """With parts corrected by what bands were measured to cost within a mixture; all groups are in one of them.

        A measurement counts as its error allows: beside what was predicted, itself good to PRIOR, it has the weight of
        inverse variances. What all bands cost together is of no account: it tells of the whole, not of one against
        another.
        """
        saved = np.array([of.saved.value for of in within])
        errors = np.array([of.saved.error for of in within])
        expected = self.saved_by(mixture, [of.band for of in within])
        expected = np.maximum(expected * (saved.sum() / expected.sum() if saved.sum() > 0 else 1.0), _TINY)
        weight = PRIOR**2 / (PRIOR**2 + (errors / expected) ** 2)
        factors = self.costs.factors.copy()
        for of, factor in zip(within, 1 + weight * (saved / expected - 1), strict=True):
            factors[[*of.band]] *= np.clip(factor, 1 / MAX_FACTOR, MAX_FACTOR)
        return replace(self, costs=replace(self.costs, factors=factors))

    @property
    def _whole(self) -> Curve:
        wholes = [(float(self.costs.parts(mixture).sum()), kld) for mixture, kld in self.wholes]
        return Curve(wholes or [(1.0, 1.0)])


PRIOR = 0.7  # relative standard error of a part that was measured alone, for what it is within a mixture
MAX_FACTOR = 4.0  # of one correction


def neighbours(types: Sequence[str], type: str, reach: int) -> list[str]:
    """Of types from coarse to fine those at most `reach` steps from one of them."""
    at = types.index(type)
    return list(types[max(0, at - reach) : at + reach + 1])


def nearest(errors: Mapping[str, float], known: Iterable[str], type: str) -> float:
    """By which factor the error of a type differs from the nearest of the known ones; infinite without any."""
    ordered = sorted(np.log(max(errors[other], _TINY)) for other in known)
    if not ordered:
        return float("inf")
    wanted = float(np.log(max(errors[type], _TINY)))
    at = bisect.bisect(ordered, wanted)
    return float(np.exp(min(abs(wanted - value) for value in ordered[max(0, at - 1) : at + 1])))
