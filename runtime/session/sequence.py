"""A sequence: the tokens of one conversation, and what a plan remembers of them."""

from __future__ import annotations

from collections.abc import Sequence as Tokens

from subbyte.errors import ContextOverflow
from subbyte.kernels import Cache, Plan
from subbyte.runtime.handles import Handle
from subbyte.runtime.session.checkpoints import Checkpoint, Checkpoints
from subbyte.runtime.types import CacheType

ANSWER_LEAD = 16  # tokens at the end of a prompt among which a template begins the answer, differently another time


class Sequence(Handle):
    """Tokens, their keys and values in a cache of n_ctx positions, and the recurrent states behind them.

    A `Runner` of the same plan appends to it. tokens: all of them; the memory holds the first n_held. These are fewer
    only where the sequence went back to a place between two checkpoints: the next step begins at n_held.
    cache_type: how the cache keeps keys and values, see `CacheType`. checkpoint_bytes: memory for checkpoints.
    Raises ResourceError without memory for the cache.
    """

    instead = "make another with Runner.new_sequence, or fork it"

    def __init__(self, plan: Plan, n_ctx: int, cache_type: CacheType = "f16", checkpoint_bytes: int = 0) -> None:
        self.plan, self.n_ctx, self.cache_type = plan, n_ctx, cache_type
        self.tokens: list[int] = []
        self.n_held = self.n_recomputed = 0
        self._n_filled = 0  # positions of the cache that have taken memory
        self.cache = Cache(plan, n_ctx, cache_type)
        self.checkpoints = Checkpoints(plan.state_bytes, checkpoint_bytes)
        self._turn_end = 0  # where the prompt that is being read ends, but for the lead of its answer

    @property
    def n_past(self) -> int:
        """How many tokens there are."""
        return len(self.tokens)

    @property
    def pending(self) -> list[int]:
        """Tokens to compute again before others."""
        return self.tokens[self.n_held :]

    @property
    def n_bytes(self) -> int:
        """Memory taken by now: keys and values of the positions that were filled, recurrent states, checkpoints."""
        kept = len(self.checkpoints.kept) * self.plan.state_bytes
        return self.plan.cache_bytes(self._n_filled, self.cache_type) + kept

    def room_in_step(self, n: int) -> int:
        """How many of the next n tokens a step may take, so that it ends where a checkpoint should be."""
        left = self._turn_end - self.n_held
        return left if self.checkpoints.capacity and 0 < left < n else n

    def hold(self, tokens: list[int]) -> None:
        """Takes in what a step has computed behind the first n_held."""
        end = self.n_held + len(tokens)
        self.n_recomputed += min(end, self.n_past) - self.n_held
        self.tokens[self.n_held : end] = tokens
        self.n_held = end
        self._n_filled = max(self._n_filled, end)
        if end == self._turn_end or self.checkpoints.is_due(end):
            self.checkpoint(ends_turn=end == self._turn_end)

    def checkpoint(self, *, ends_turn: bool) -> None:
        """Keeps a copy of the recurrent states as they are now, if there are any and copies may be kept."""
        if self.checkpoints.capacity and self.n_held:
            self.checkpoints.make_room()
            self.checkpoints.add(Checkpoint(self.n_held, ends_turn, self.cache.copy_state()))

    def recover(self) -> None:
        """After a step that failed, which may have changed recurrent states: back to the last checkpoint."""
        if self.plan.state_bytes and self.cache.state_tokens != self.n_held:
            self._go_back(self.n_held)

    def truncate(self, n: int) -> None:
        """Keeps the first n tokens. Raises ValueError for more than there are."""
        if not 0 <= n <= self.n_past:
            raise ValueError(f"can't rewind to {n} tokens, the session has {self.n_past}")
        del self.tokens[n:]
        self.checkpoints.drop_behind(n)
        if n < self.n_held:
            self._go_back(n)

    def reuse(self, tokens: Tokens[int], at_most: int | None = None) -> int:
        """Keeps what the memory holds of the start of a prompt, at most all but its last token; returns how much.

        The end of a turn, which is where a conversation goes on, gets a checkpoint, and so does the prompt's end; or,
        where `at_most` so many tokens are kept, that place, from which other prompts may go on.
        """
        n = self.common_prefix(tokens[:-1] if at_most is None else tokens[:at_most])
        if n == self.n_past == self.n_held:
            self.checkpoint(ends_turn=True)
        self.truncate(n)
        self.n_recomputed += n - self.n_held
        del self.tokens[self.n_held :]
        self._turn_end = at_most or len(tokens) - ANSWER_LEAD
        return self.n_held

    def common_prefix(self, tokens: Tokens[int]) -> int:
        """How many tokens at the start of `tokens` are those of the sequence."""
        n = 0
        for old, new in zip(self.tokens, tokens, strict=False):
            if old != new:
                break
            n += 1
        return n

    def reusable(self, tokens: Tokens[int], n_ctx: int) -> int:
        """How many tokens at the start of `tokens` need not be computed by a sequence of n_ctx that takes them over.

        None where long contexts have a rope of their own and only one of both is long.
        """
        if self.plan.n_long_ropes(n_ctx) != self.plan.n_long_ropes(self.n_ctx):
            return 0
        n = min(self.common_prefix(tokens), n_ctx)
        if n >= self.n_held or not self.plan.state_bytes:
            return min(n, self.n_held)
        checkpoint = self.checkpoints.at_most(n)
        return checkpoint.n_tokens if checkpoint else 0

    def take_over(self, other: Sequence, n: int) -> None:
        """Begins anew with the first n tokens of another sequence and a copy of what is remembered of them.

        n: as `reusable` of the other gives it, or all its tokens.
        """
        held = min(n, other.n_held)
        self.cache.copy_from(other.cache, held)
        self.tokens[:], self.n_held, self._n_filled = other.tokens[:n], held, max(self._n_filled, held)
        self.checkpoints.take_over(other.checkpoints, n)
        if held < other.n_held and (checkpoint := other.checkpoints.at_most(held)) is not None:
            self.cache.set_state(checkpoint.state, checkpoint.n_tokens)

    def fork(self) -> Sequence:
        """Another sequence of the same tokens, with a copy of what is remembered of them. Raises ResourceError."""
        other = Sequence(self.plan, self.n_ctx, self.cache_type, self.checkpoints.max_bytes)
        other.take_over(self, self.n_past)
        return other

    def resized(self, n_ctx: int) -> Sequence:
        """Another sequence of n_ctx positions, with as many of the tokens as need not be computed again there."""
        other = Sequence(self.plan, n_ctx, self.cache_type, self.checkpoints.max_bytes)
        if n := self.reusable(self.tokens, n_ctx):
            other.take_over(self, n)
        return other

    def check_room(self, n: int) -> None:
        """Raises ContextOverflow if n more tokens do not fit."""
        if self.n_past + n > self.n_ctx:
            raise ContextOverflow(
                f"{self.n_past} + {n} tokens do not fit a context of {self.n_ctx}; rewind, or ask for a larger one"
            )

    def _go_back(self, n: int) -> None:
        """Makes the memory hold n tokens, or as many before these as it can."""
        if not self.plan.state_bytes:
            self.n_held = n
        elif (checkpoint := self.checkpoints.at_most(n)) is None:
            self.n_held = 0
        else:
            self.cache.set_state(checkpoint.state, checkpoint.n_tokens)
            self.n_held = checkpoint.n_tokens
