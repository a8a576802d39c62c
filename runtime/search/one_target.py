"""The search for one target: rounds of allocating types by what is known, and measuring where that leads.

First groups are measured alone, in types near those they would get: layers of a kind that are neighbours together, and
apart where much is at stake. The mixture of least predicted divergence is made of that. Where its divergence is not the
sum of its parts, the same groups are measured within the mixture, by leaving them as they are in the base; parts are
corrected and types allocated again, not far from where they were measured. That goes on as long as the mixture becomes
better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from subbyte.errors import ModelRefused
from subbyte.runtime.evaluation.statistics import Estimate, Floats
from subbyte.runtime.search.allocation import Allocation
from subbyte.runtime.search.groups import Group
from subbyte.runtime.search.measured import Measured, Variant
from subbyte.runtime.search.prediction import Costs, Prediction, Within, nearest, neighbours
from subbyte.runtime.search.target import Target

FAR = 4.0  # by which factor an error may differ from a measured one to be estimated from it
ADDS_UP = 0.1  # by which a whole may differ from the sum of its parts, of it, to need no second look
CLOSE = 0.02  # to a divergence that is to be reached, of it
REACH = 2  # types finer and coarser that a round may go to
HEAD = 10.0  # nats for an error of 1 in the head, which measuring begins with; in a layer's matrix it is about 1
NOTHING = 1e-9  # nats that are no divergence
ALONE_PASSES = 2  # over the bands: of the second only those whose types have gone far
LARGE = 0.02  # of a mixture's divergence: a band of more is halved


@dataclass
class Tried:
    """A mixture with its divergences on the search's passages; predicted: what they were expected to be, nats."""

    mixture: tuple[str, ...]
    predicted: float
    klds: Floats


@dataclass
class OneTarget:
    """The state of a search.

    types: of each group those worth taking, coarse to fine. alone: divergences known, by type; shared: groups and types
    whose divergence is a share of their band's. bands: indices of groups that are measured together. These three
    change, and are shared between targets.
    head: bytes of the file beside tensors. kept: bytes of tensors beside the groups. n_weights: of all tensors.
    """

    target: Target
    groups: Sequence[Group]
    errors: Sequence[Mapping[str, float]]
    types: Sequence[Sequence[str]]
    alone: Sequence[dict[str, float]]
    shared: set[tuple[int, str]]
    bands: list[list[int]]
    head: int
    kept: int
    n_weights: int
    max_rounds: int
    tried: list[Tried] = field(default_factory=list)
    within: dict[tuple[str, ...], list[Within]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        guessed = [HEAD if group.is_head else 1.0 for group in self.groups]
        factors = np.array([float(group.is_run) for group in self.groups])
        self.prediction = Prediction(Costs(self.errors, guessed, self.alone, factors))

    @property
    def best(self) -> Tried:
        """Of what was tried, at least one mixture: what reaches the target and diverges, or takes, least."""
        if self.target.of == "kld" and (reached := [of for of in self.tried if self.reaches(of)]):
            return min(reached, key=lambda of: self.n_bytes(of.mixture))
        return min(self.tried, key=lambda of: float(of.klds.mean()))

    def reaches(self, tried: Tried) -> bool:
        """Whether a mixture diverges as little as is asked for; a size it always has."""
        return self.target.of != "kld" or float(tried.klds.mean()) <= (1 + CLOSE) * self.target.value

    def check_reach(self) -> None:
        """After the search: raises ModelRefused where not even the finest types reach the target."""
        best = self.best
        if not self.reaches(best) and best.mixture == tuple(types[-1] for types in self.types):
            found = f"the finest, of {self.n_bytes(best.mixture) / 1e6:.1f} MB, diverges by {best.klds.mean():.3g} nats"
            raise ModelRefused(f"{self.target}: no mixture of these types reaches it; {found}")

    def run(self, measured: Measured) -> Iterator[tuple[str, int]]:
        """Searches; yields what is done next and how many layers it runs."""
        mixture = self._allocate()
        for _ in range(ALONE_PASSES):
            far = [band for band in self.bands if self._is_far(band, mixture)]
            yield from self._measure_alone(measured, far, mixture)
            while halves := self._split(mixture):
                yield from self._measure_alone(measured, halves, mixture)
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
        # What is not run costs nothing that can be measured: its error stands for that.
        cost_of = [costs.part if group.is_run else costs.alone for group in self.groups]
        losses = [[cost_of[i](i, type) for type in types] for i, types in enumerate(choices)]
        sizes = [[group.n_bytes[type] for type in types] for group, types in zip(self.groups, choices, strict=True)]
        of_kld = self.target.of == "kld"
        limit = sum(map(max, sizes)) if of_kld else self._max_bytes - self.kept
        allocation = Allocation(losses, sizes, limit)
        enough = allocation.for_loss(self.prediction.sum_for(self.target.value)) if of_kld else None
        found = enough or allocation.within_limit()  # what is not predicted to reach a divergence may do so
        if found is None:
            raise ModelRefused(f"{self.target}: no mixture of these types reaches it; {self._bounds()}")
        return tuple(types[i] for types, i in zip(choices, found, strict=True))

    @property
    def _max_bytes(self) -> int:
        """Of tensors."""
        most = math.floor(self.target.max_bytes(self.n_weights))
        return most - self.head if self.target.of == "size" else most

    def _bounds(self) -> str:
        least, most = ([types[at] for types in self.types] for at in (0, -1))
        sizes = (f"{self.n_bytes(mixture) / 1e6:.1f}" for mixture in (least, most))
        return f"files of {' to '.join(sizes)} MB are possible"

    def _is_far(self, band: Sequence[int], mixture: Sequence[str]) -> bool:
        """Whether some group's type in a mixture is too far from those that were measured to be estimated from them."""
        costs = self.prediction.costs
        return any(
            len(self.types[i]) > 1
            and not costs.is_lossless(i, mixture[i])
            and nearest(self.errors[i], costs.telling(i), mixture[i]) > FAR
            for i in band
        )

    def _split(self, mixture: Sequence[str]) -> list[list[int]]:
        """Halves of those bands that make up much of a mixture's divergence; they take the place of these."""
        parts = self.prediction.costs.parts(mixture)
        large = [band for band in self.bands if len(band) > 1 and parts[band].sum() > LARGE * parts.sum()]
        halves = [half for band in large for half in (band[: len(band) // 2], band[len(band) // 2 :])]
        self.bands[:] = [band for band in self.bands if band not in large] + halves
        return halves

    def _measure_alone(
        self, measured: Measured, bands: Sequence[Sequence[int]], mixture: Sequence[str]
    ) -> Iterator[tuple[str, int]]:
        """Bands in the types that they have in a mixture; each group's share is that of its error."""
        ordered = sorted(bands, key=self._start)
        variants = [Variant({i: mixture[i] for i in band}, self.groups[band[0]].start) for band in ordered]
        found = measured.divergences({}, variants, on_some=True)
        for band in ordered:
            yield f"{self.target}: {self._name(band)} alone", max(self._start(band), 0)
            kld = float(next(found).mean())
            errors = [max(self.errors[i][mixture[i]], 1e-12) for i in band]
            for i, error in zip(band, errors, strict=True):
                self.alone[i][mixture[i]] = kld * error / sum(errors)
                (self.shared.add if len(band) > 1 else self.shared.discard)((i, mixture[i]))

    def _start(self, band: Sequence[int]) -> int:
        """The layer to begin with, -1 for the embeddings."""
        start = self.groups[band[0]].start
        return -1 if start is None else start

    def _name(self, band: Sequence[int]) -> str:
        first, last = self.groups[band[0]].name, self.groups[band[-1]].matrix.layer
        return first if len(band) == 1 else f"{first} to layer {last}"

    def _try(self, measured: Measured, mixture: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        """The divergence of a whole mixture."""
        yield f"{self.target}: the whole mixture, round {len(self.tried) + 1}", 0
        klds, predicted = measured.whole(mixture), self.prediction.divergence(mixture)
        self.tried.append(Tried(mixture, predicted, klds))
        self.prediction = self.prediction.with_whole(mixture, float(klds.mean()))

    def _adds_up(self, point: Tried) -> bool:
        total = float(self.prediction.costs.parts(point.mixture).sum())
        return abs(float(point.klds.mean()) - total) <= max(ADDS_UP * total, NOTHING)

    def _measure_within(self, measured: Measured, point: Tried) -> Iterator[tuple[str, int]]:
        """What each band costs within a mixture."""
        whole, bands = dict(enumerate(point.mixture)), sorted(self.bands, key=self._start)
        rest = [{i: type for i, type in whole.items() if i not in band} for band in bands]
        starts = [self.groups[band[0]].start for band in bands]
        found = measured.divergences(whole, [Variant(*of) for of in zip(rest, starts, strict=True)])
        within = []
        for band in bands:
            yield f"{self.target}: the mixture without {self._name(band)}", max(self._start(band), 0)
            within.append(Within(tuple(band), estimate(point.klds - next(found))))
        self.within[point.mixture] = within
        self.prediction = self.prediction.corrected(point.mixture, within)


def standard_error(values: Floats) -> float:
    """Of the mean of independent values; infinite of one."""
    n = len(values)
    return float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf


def estimate(values: Floats) -> Estimate:
    """The mean with its standard error."""
    return Estimate(float(values.mean()), standard_error(values))
