"""Pinned prefixes: beginnings of prompts that are computed once and kept, for all sessions of a model to begin from."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Tokens
from threading import Lock
from typing import TypeAlias

from subbyte.runtime.handles import Handle
from subbyte.runtime.session.sequence import Sequence
from subbyte.runtime.types import Activations, CacheType

Kind: TypeAlias = tuple[CacheType, Activations]
"""What must be the same for one sequence to go on from another: how it was computed and how it is kept."""


class Pin(Handle):
    """A prefix that a model keeps until it is closed; a context manager. Made by `Model.pin`."""

    instead = "pin the text again"

    def __init__(self, prefixes: Prefixes, kind: Kind, sequence: Sequence) -> None:
        self._prefixes, self._kind, self._sequence = prefixes, kind, sequence
        prefixes.add(kind, sequence)

    @property
    def tokens(self) -> tuple[int, ...]:
        """The token ids of the prefix."""
        return tuple(self._sequence.tokens)

    @property
    def n_bytes(self) -> int:
        """The memory that it takes."""
        return self._sequence.n_bytes

    def close(self) -> None:
        """Gives the prefix back; what has begun from it keeps its copy. Closing twice is no error."""
        self._prefixes.remove(self._kind, self._sequence)

    def __enter__(self) -> Pin:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Prefixes:
    """The pinned prefixes of one plan, for any thread. Their sequences do not change any more."""

    def __init__(self) -> None:
        self._pinned: dict[Kind, tuple[Sequence, ...]] = {}
        self._lock = Lock()

    def add(self, kind: Kind, sequence: Sequence) -> None:
        """Keeps one more."""
        with self._lock:
            self._pinned[kind] = (*self.of(kind), sequence)

    def remove(self, kind: Kind, sequence: Sequence) -> None:
        """Lets one go, if it is there."""
        with self._lock:
            self._pinned[kind] = tuple(kept for kept in self.of(kind) if kept is not sequence)

    def of(self, kind: Kind) -> tuple[Sequence, ...]:
        """Those that sequences of this kind can begin from."""
        return self._pinned.get(kind, ())


def longest(sequences: Iterable[Sequence], tokens: Tokens[int], n_ctx: int) -> tuple[Sequence | None, int]:
    """The sequence that holds most of the start of `tokens`, and how much; of equals the first. None, 0: none does.

    n_ctx: positions of the sequence that is to take it over.
    """
    best, most = None, 0
    for sequence in sequences:
        if (n := sequence.reusable(tokens, n_ctx)) > most:
            best, most = sequence, n
    return best, most
