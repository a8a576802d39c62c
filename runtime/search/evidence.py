"""What a search tells of itself: how far it is, and what stands for each of its results."""

from __future__ import annotations

from collections.abc import Sequence

from subbyte.runtime.measurement import Step
from subbyte.runtime.search.groups import Group
from subbyte.runtime.search.one_target import OneTarget, estimate
from subbyte.runtime.search.result import Basis, Round, TensorCosts, TypeCost


class SearchProgress:
    """Work in layers run; what a search will take is known only in part, so its total is the most it may take."""

    def __init__(self, groups: Sequence[Group], n_layer: int, n_targets: int, rounds: int) -> None:
        self.n_layer, self._done = n_layer, 0
        one_pass = sum(n_layer - (group.start or 0) + 1 for group in groups)
        self._total = len(groups) + one_pass * (1 + n_targets * (rounds - 1)) + n_targets * (rounds + 1) * (n_layer + 1)

    def step(self, what: str, work: int) -> Step:
        done = min(self._done, self._total)
        self._done += work
        return Step(what, done, self._total)


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
            measured: Basis = "measured" if together.get(i, 1) == 1 else "shared"
            otherwise: Basis = "estimated" if costs.telling(i) or costs.is_lossless(i, type) else "guessed"
            basis = measured if type in one.alone[i] else otherwise
            kld = one.alone[i].get(type, costs.alone(i, type))
            of_types.append(TypeCost(type, group.n_bytes[type], one.errors[i][type], kld, basis, costs.part(i, type)))
        tensor = TensorCosts(group.name, best[i], together.get(i, 1), within.get(i), tuple(of_types))
        found.append(tensor)
    return tuple(found)
