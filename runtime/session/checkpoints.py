"""Checkpoints: copies of a sequence's recurrent states, which it can go back to.

Keys and values are kept by position: to go back is to forget the last ones. A recurrent state stands for all tokens so
far, and no token can be taken out of it: to go back is to put an earlier state in its place, and to compute the tokens
since then again.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

State = NDArray[np.uint8]

INTERVAL = 512  # tokens behind the last checkpoint after which another one is due
TURN_WEIGHT = 8  # a conversation goes back to the end of a turn so much more often than to a place within it


class Checkpoint(NamedTuple):
    """The recurrent states behind the first n_tokens, as bytes. ends_turn: whether a turn or a prompt ends there."""

    n_tokens: int
    ends_turn: bool
    state: State


class Checkpoints:
    """The checkpoints of one sequence by their number of tokens, in at most max_bytes; none without recurrent states.

    When there is no room for another one, that goes whose loss costs least: few tokens more to compute, and a long way
    back. So they lie the closer the nearer they are to the end.
    """

    def __init__(self, state_bytes: int, max_bytes: int) -> None:
        self.state_bytes, self.max_bytes = state_bytes, max_bytes
        self.kept: list[Checkpoint] = []

    @property
    def capacity(self) -> int:
        """How many there can be."""
        return self.max_bytes // self.state_bytes if self.state_bytes else 0

    def take_over(self, other: Checkpoints, n_tokens: int) -> None:
        """Those of another sequence up to n_tokens, in place of its own, as far as there is room; states are shared."""
        self.kept.clear()
        for checkpoint in other.kept if self.capacity else ():
            if checkpoint.n_tokens <= n_tokens:
                self.make_room()
                self.add(checkpoint)

    def is_due(self, n_tokens: int) -> bool:
        """Whether the last one lies so far before n_tokens that there should be another."""
        return self.capacity > 0 and n_tokens - (self.kept[-1].n_tokens if self.kept else 0) >= INTERVAL

    def make_room(self) -> None:
        """Lets the least valuable ones go, so that one more fits."""
        while len(self.kept) >= max(self.capacity, 1):
            end = self.kept[-1].n_tokens
            before = [0, *(kept.n_tokens for kept in self.kept)]

            def value(i: int, end: int = end, before: list[int] = before) -> float:
                n, ends_turn, _ = self.kept[i]
                return (TURN_WEIGHT if ends_turn else 1) * (n - before[i]) / (end - n + INTERVAL)

            del self.kept[min(range(len(self.kept)), key=value)]

    def add(self, checkpoint: Checkpoint) -> None:
        """Keeps one more, for which there is room; where there is one by now, it may become the end of a turn."""
        if (old := self.at_most(checkpoint.n_tokens)) is not None and old.n_tokens == checkpoint.n_tokens:
            self.kept.remove(old)
            checkpoint = checkpoint._replace(ends_turn=checkpoint.ends_turn or old.ends_turn)
        insort(self.kept, checkpoint, key=lambda kept: kept.n_tokens)

    def at_most(self, n_tokens: int) -> Checkpoint | None:
        """The last one that stands for no more than n_tokens."""
        i = bisect_right(self.kept, n_tokens, key=lambda kept: kept.n_tokens)
        return self.kept[i - 1] if i else None

    def drop_behind(self, n_tokens: int) -> None:
        """Forgets those that stand for more than n_tokens."""
        del self.kept[bisect_right(self.kept, n_tokens, key=lambda kept: kept.n_tokens) :]
