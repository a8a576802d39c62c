"""The sequences of a scheduler: which there are, what memory they take, and which one a prompt can begin from."""

from __future__ import annotations

from collections.abc import Sequence as Tokens

from subbyte.runtime.session.prefixes import Prefixes, longest
from subbyte.runtime.session.runner import Runner
from subbyte.runtime.session.sequence import Sequence
from subbyte.runtime.types import CacheType

MAX_IDLE = 64  # each has a mapping of its own


class Sequences:
    """Running sequences, and idle ones, kept for prompts that begin like them for as long as there is memory.

    max_bytes: what all may take, pinned prefixes aside. Not for several threads.
    """

    def __init__(
        self, runner: Runner, prefixes: Prefixes, cache_type: CacheType, checkpoint_bytes: int, max_bytes: int
    ) -> None:
        self._runner, self._prefixes, self._kind = runner, prefixes, (cache_type, runner.activations)
        self._cache_type, self._checkpoint_bytes, self.max_bytes = cache_type, checkpoint_bytes, max_bytes
        self.running: list[Sequence] = []
        self.idle: list[Sequence] = []  # the one that ran last is last

    @property
    def n_bytes(self) -> int:
        """Memory that all take by now."""
        return sum(sequence.n_bytes for sequence in (*self.running, *self.idle))

    def has_room(self, n_positions: int, keep: Sequence | None = None) -> bool:
        """Whether so many positions more may be filled; idle sequences but one to keep are given up if need be."""
        while self.n_bytes + self._bytes(n_positions) > self.max_bytes:
            if not (others := [sequence for sequence in self.idle if sequence is not keep]):
                return False
            self.idle.remove(others[0])
        return True

    def begin(self, tokens: Tokens[int], n_reusable: int, growth: int) -> Sequence | None:
        """A running sequence that holds as much of the start of a prompt as any other does; None without memory.

        n_reusable: how much of it that may be. growth: positions that there must be room for beside those of the
        prompt.
        """
        donors = (*self.idle, *self.running, *self._prefixes.of(self._kind))
        donor, n = longest(donors, tokens[:n_reusable], self._runner.n_ctx)
        goes_on = donor is not None and n == donor.n_past and donor in self.idle  # nothing of the donor would be left
        if not self.has_room(len(tokens) + growth - (n if goes_on else 0), keep=donor):
            return None
        if goes_on and donor is not None:
            self.idle.remove(donor)
            sequence = donor
        else:
            sequence = self._runner.new_sequence(self._cache_type, self._checkpoint_bytes)
            if donor is not None:
                sequence.take_over(donor, n)
        sequence.reuse(tokens, n_reusable if n_reusable < len(tokens) - 1 else None)
        self.running.append(sequence)
        return sequence

    def _bytes(self, n_positions: int) -> int:
        plan = self._runner.plan
        return plan.cache_bytes(n_positions, self._cache_type)

    def end(self, sequence: Sequence, *, keep: bool) -> None:
        """A sequence that runs no more. keep: others may begin from it."""
        self.running.remove(sequence)
        if keep and sequence.n_held:
            self.idle.append(sequence)
            del self.idle[:-MAX_IDLE]
