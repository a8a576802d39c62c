"""A sequence: the tokens of one conversation and their KV cache."""

from subbyte.errors import ContextOverflow
from subbyte.kernels import Cache, Plan
from subbyte.runtime.handles import Handle
from subbyte.runtime.types import CacheType, Tokens


class Sequence(Handle):
    """Tokens, and their keys and values in a KV cache of n_ctx positions.

    A `Runner` of the same plan appends to it. cache_type: how the cache keeps keys and values, see `CacheType`.
    Raises ResourceError without memory for the cache.
    """

    instead = "make another with Runner.new_sequence"

    def __init__(self, plan: Plan, n_ctx: int, cache_type: CacheType = "f16") -> None:
        self.n_ctx, self.cache_type = n_ctx, cache_type
        self.tokens: list[int] = []
        self.cache = Cache(plan, n_ctx, cache_type)

    @property
    def n_past(self) -> int:
        """How many tokens the cache holds."""
        return len(self.tokens)

    def common_prefix(self, tokens: Tokens) -> int:
        """How many tokens at the start of `tokens` are those of the sequence."""
        n = 0
        for old, new in zip(self.tokens, tokens, strict=False):
            if old != new:
                break
            n += 1
        return n

    def truncate(self, n: int) -> None:
        """Keeps the first n tokens. Raises ValueError for more than there are."""
        if not 0 <= n <= self.n_past:
            raise ValueError(f"can't rewind to {n} tokens, the session has {self.n_past}")
        del self.tokens[n:]

    def check_room(self, n: int) -> None:
        """Raises ContextOverflow if n more tokens do not fit."""
        if self.n_past + n > self.n_ctx:
            raise ContextOverflow(
                f"{self.n_past} + {n} tokens do not fit a context of {self.n_ctx}; rewind, or ask for a larger one"
            )
