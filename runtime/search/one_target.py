"""The search for one target: rounds of allocating types by what is known, and measuring where that leads.

First each group is measured alone, in a type near the one it would get, and the mixture of least predicted divergence
is made of that. Where its divergence is not the sum of its parts, each group is measured within the mixture, by leaving
it as it is in the base; parts are corrected and types allocated again, not far from where they were measured. That goes
on as long as the mixture becomes better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from subbyte.errors import ModelRefused
from subbyte.runtime.evaluation.divergence import Estimate
from subbyte.runtime.evaluation.statistics import Floats
from subbyte.runtime.search.allocation import Allocation
from subbyte.runtime.search.groups import Group
from subbyte.runtime.search.measured import Measured, Variant
from subbyte.runtime.search.prediction import Costs, Prediction, nearest, neighbours
from subbyte.runtime.search.target import Target

FAR = 4.0  # by which factor an error may differ from a measured one to be estimated from it
ADDS_UP = 0.1  # by which a whole may differ from the sum of its parts, of it, to need no second look
CLOSE = 0.02  # to a divergence that is to be reached, of it
REACH = 2  # types finer and coarser that a round may go to
HEAD = (
    10.0  # nats for an error of 1 in the head, a guess from which measuring begins; in a layer's matrix it is about 1
)
ALONE_PASSES = 2  # over the groups: of the second only those whose type has gone far


@dataclass
class Tried:
    """A mixture with its divergences on the search's passages; predicted: what they were expected to be, nats."""

    mixture: tuple[str, ...]
    predicted: float
    klds: Floats


@dataclass
class OneTarget:
    """The state of a search.

    types: of each group those worth taking, coarse to fine. alone: divergences known, by type; shared between targets.
    head: bytes of the file beside tensors. kept: bytes of tensors beside the groups. n_weights: of all tensors.
    """

    target: Target
    groups: Sequence[Group]
    errors: Sequence[Mapping[str, float]]
    types: Sequence[Sequence[str]]
    alone: Sequence[dict[str, float]]
    head: int
    kept: int
    n_weights: int
    max_rounds: int
    tried: list[Tried] = field(default_factory=list)
    within: dict[tuple[str, ...], tuple[Floats, Floats]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        guessed = [HEAD if group.is_head else 1.0 for group in self.groups]
        self.prediction = Prediction(Costs(self.errors, guessed, self.alone, np.ones(len(self.groups))))

    @property
    def best(self) -> Tried:
        """Of what was tried, at least one mixture: what reaches the target and diverges, or takes, least."""
        if self.target.of == "kld":
            reached = [of for of in self.tried if float(of.klds.mean()) <= (1 + CLOSE) * self.target.value]
            if reached:
                return min(reached, key=lambda of: self.n_bytes(of.mixture))
        return min(self.tried, key=lambda of: float(of.klds.mean()))

    def run(self, measured: Measured) -> Iterator[tuple[str, int]]:
        """Searches; yields what is done next and how many layers it runs."""
        mixture = self._allocate()
        for _ in range(ALONE_PASSES):
            yield from self._measure_alone(measured, mixture)
            mixture = self._allocate()
        yield from self._try(measured, mixture)
        for _ in range(self.max_rounds - 1):
            point = self.best
            if not (self._adds_up(point) or point.mixture in self.within):
                yield from self._measure_within(measured, point)
            elif self.target.of != "kld" or abs(point.klds.mean() / self.target.value - 1) <= CLOSE:
                return
            mixture = self._allocate(point.mixture)
            if any(tried.mixture == mixture for tried in self.tried):
                return
            yield from self._try(measured, mixture)

    def n_bytes(self, mixture: Sequence[str]) -> int:
        """Of the file."""
        return self.head + self.tensor_bytes(mixture)

    def tensor_bytes(self, mixture: Sequence[str]) -> int:
        """Of all tensors."""
        return self.kept + sum(group.n_bytes[type] for group, type in zip(self.groups, mixture, strict=True))

    def _allocate(self, around: Sequence[str] | None = None) -> tuple[str, ...]:
        """The mixture of least predicted divergence within the target; around: a mixture to stay near to."""
        choices = [
            list(types) if around is None or types[1:] == [] else neighbours(types, around[i], REACH)
            for i, types in enumerate(self.types)
        ]
        costs = self.prediction.costs
        losses = [[costs.part(i, type) for type in types] for i, types in enumerate(choices)]
        sizes = [[group.n_bytes[type] for type in types] for group, types in zip(self.groups, choices, strict=True)]
        of_kld = self.target.of == "kld"
        limit = sum(map(max, sizes)) if of_kld else self._max_bytes - self.kept
        allocation = Allocation(losses, sizes, limit)
        found = allocation.for_loss(self.prediction.sum_for(self.target.value)) if of_kld else allocation.within_limit()
        if found is None:
            raise ModelRefused(f"{self.target}: no mixture of these types reaches it; {self._bounds()}")
        return tuple(types[i] for types, i in zip(choices, found, strict=True))

    @property
    def _max_bytes(self) -> int:
        """Of tensors."""
        value = self.target.value
        return int(value) - self.head if self.target.of == "size" else math.floor(value * self.n_weights / 8)

    def _bounds(self) -> str:
        least, most = ([types[at] for types in self.types] for at in (0, -1))
        sizes = (f"{self.n_bytes(mixture) / 1e6:.1f}" for mixture in (least, most))
        return f"files of {' to '.join(sizes)} MB are possible"

    def _measure_alone(self, measured: Measured, mixture: Sequence[str]) -> Iterator[tuple[str, int]]:
        """Each group in the type that it has in a mixture, where no measured one is near."""
        wanted = [
            i for i, type in enumerate(mixture)
            if len(self.types[i]) > 1 and nearest(self.errors[i], self.alone[i], type) > FAR
        ]  # fmt: skip
        variants = [Variant({i: mixture[i]}, self.groups[i].start) for i in wanted]
        found = measured.divergences({}, variants, on_some=True)
        for i in wanted:
            yield f"{self.target}: {self.groups[i].name} in {mixture[i]}", self.groups[i].start or 0
            self.alone[i][mixture[i]] = float(next(found).mean())

    def _try(self, measured: Measured, mixture: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        """The divergence of a whole mixture."""
        yield f"{self.target}: the whole mixture, round {len(self.tried) + 1}", 0
        klds, predicted = measured.whole(mixture), self.prediction.divergence(mixture)
        self.tried.append(Tried(mixture, predicted, klds))
        self.prediction = self.prediction.with_whole(mixture, float(klds.mean()))

    def _adds_up(self, point: Tried) -> bool:
        total = float(self.prediction.costs.parts(point.mixture).sum())
        return abs(float(point.klds.mean()) - total) <= ADDS_UP * total

    def _measure_within(self, measured: Measured, point: Tried) -> Iterator[tuple[str, int]]:
        """What each group costs within a mixture."""
        whole = dict(enumerate(point.mixture))
        rest = [{j: type for j, type in whole.items() if j != i} for i in whole]
        found = measured.divergences(whole, [Variant(rest[i], group.start) for i, group in enumerate(self.groups)])
        saved = []
        for group in self.groups:
            yield f"{self.target}: the mixture without {group.name}", group.start or 0
            saved.append(point.klds - next(found))
        means = np.array([float(of.mean()) for of in saved])
        errors = np.array([standard_error(of) for of in saved])
        self.within[point.mixture] = means, errors
        self.prediction = self.prediction.corrected(point.mixture, means, errors)


def standard_error(values: Floats) -> float:
    """Of the mean of independent values; infinite of one."""
    n = len(values)
    return float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf


def estimate(values: Floats) -> Estimate:
    """The mean with its standard error."""
    return Estimate(float(values.mean()), standard_error(values))
