"""Speculation with drafts of a test's own, whether they pay or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from subbyte.runtime.speculation.speculation import Speculation

Choose = Callable[[list[int], int], list[int]]


class Drafts(Speculation):
    """Drafts what a function says, given all tokens so far and how many drafts there may be."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self.came_so_far: list[int] = []

    def begin(self, context: Sequence[int]) -> None:
        pass

    def drafts(self, context: Sequence[int], room: int) -> list[int]:
        return self._choose(list(context), room)[:room]

    def came(self, token: int, *, drafted: bool) -> None:
        self.came_so_far.append(token)


def right(tokens: Sequence[int]) -> Choose:
    """What will come, given prompt and answer."""
    return lambda context, room: [*tokens[len(context) :]]


def wrong(tokens: Sequence[int], n_vocab: int) -> Choose:
    """What will not come."""
    return lambda context, room: [(token + 1) % n_vocab for token in tokens[len(context) :]]


def mixed(tokens: Sequence[int], n_vocab: int, seed: int) -> Choose:
    """Any number of drafts, of which the first are right, or none."""
    rng = Random(seed)

    def choose(context: list[int], room: int) -> list[int]:
        some = [*tokens[len(context) : len(context) + rng.choice([0, 0, 1, 2, 5, 16])]]
        return some + [rng.randrange(n_vocab) for _ in range(rng.choice([0, 0, 1, 4]))]

    return choose
