"""What a search tells of itself: how far it is, and what stands for each of its results."""

from __future__ import annotations

from collections.abc import Sequence

from subbyte.runtime.measurement import Step
from subbyte.runtime.search.groups import Group
from subbyte.runtime.search.one_target import OneTarget, estimate
from subbyte.runtime.search.result import Basis, Round, TensorCosts, TypeCost


class SearchProgress:
    """Work in layers run, and what is expected: of the first target the most that its bands may take, which grows as
    these are split; of further ones what those before them took.
    """

    def __init__(
        self, groups: Sequence[Group], together: Sequence[Sequence[int]], n_layer: int, n_targets: int, rounds: int
    ) -> None:
        self.n_layer, self._rounds = n_layer, rounds
        self._starts, self._together = [group.start or 0 for group in groups], together
        self._left = n_targets
        self._done = 0
        self._begin = len(groups)  # of the present target: an error of each group comes before the first
        self._took: list[int] = []  # by the targets that are done

    def step(self, what: str, work: int) -> Step:
        step = Step(what, self._done, self._begin + self._expected())
        self._done += work
        return step

    def next_target(self) -> None:
        """After the last step of one."""
        self._took.append(self._done - self._begin)
        self._begin = self._done
        self._left -= 1

    def _expected(self) -> int:
        """Of the present target and those after it."""
        if self._took:
            each = sum(self._took) // len(self._took)
        else:
            of_bands = sum(self.n_layer - self._starts[band[0]] + 1 for band in self._together)
            each = of_bands * self._rounds + (self.n_layer + 1) * (self._rounds + 1)
        return max(each, self._done + 1 - self._begin) + each * (self._left - 1)


def rounds_of(one: OneTarget) -> tuple[Round, ...]:
    """The mixtures that were tried."""
    costs = one.prediction.costs
    return tuple(
        Round(of.predicted, estimate(of.klds), float(costs.parts(of.mixture).sum()), one.n_bytes(of.mixture))
        for of in one.tried
    )


def costs_of(one: OneTarget) -> tuple[TensorCosts, ...]:
    """What each tensor costs in each type, and in the mixture that was taken."""
    costs, best = one.prediction.costs, one.best.mixture
    within = {i: of.saved for of in one.within.get(best, ()) for i in of.band}
    together = {i: len(band) for band in one.bands for i in band}
    found = []
    for i, group in enumerate(one.groups):
        of_types = []
        for type in one.types[i]:
            measured: Basis = "shared" if (i, type) in one.shared else "measured"
            otherwise: Basis = "estimated" if costs.telling(i) or costs.is_lossless(i, type) else "guessed"
            basis = measured if type in one.alone[i] else otherwise
            kld = one.alone[i].get(type, costs.alone(i, type))
            of_types.append(TypeCost(type, group.n_bytes[type], one.errors[i][type], kld, basis, costs.part(i, type)))
        tensor = TensorCosts(group.name, best[i], together.get(i, 1), within.get(i), tuple(of_types))
        found.append(tensor)
    return tuple(found)
