"""Drafters: what guesses the tokens that come next."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

N_KINDS = 16


class Guess(NamedTuple):
    """A token that may come next, and the kind of guess it is, below N_KINDS: how often those come true is counted."""

    token: int
    kind: int


class Drafter(Protocol):
    """Guesses how an answer goes on, for one after the other of a conversation.

    chances: by kind of guess, how often it is expected to come true before any was counted.
    seconds: time that its guesses have taken so far, where that counts. seconds_per_guess: what the next one takes.
    """

    @property
    def chances(self) -> Sequence[float]: ...
    @property
    def seconds(self) -> float: ...
    @property
    def seconds_per_guess(self) -> float: ...
    def fork(self) -> "Drafter":
        """One for another conversation that begins with the same tokens. Raises ResourceError."""
        ...

    def begin(self, context: Sequence[int]) -> None:
        """A new answer: context is its prompt, which need not begin with what was there before."""
        ...

    def guesses(self, context: Sequence[int]) -> Iterator[Guess]:
        """What may come behind all tokens so far, one by one, each made when it is asked for."""
        ...
