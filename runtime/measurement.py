"""Long measurements: iterators over progress whose partial result is valid whenever they are left."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Generic, NamedTuple, TypeVar

from subbyte.errors import memory_errors
from subbyte.runtime.handles import Handle

P = TypeVar("P")
R = TypeVar("R")
M = TypeVar("M", bound="Measurement")  # type: ignore[type-arg]  # of any progress and result


class Step(NamedTuple):
    """Progress of work in unequal parts: what is worked on, how much is done, how much there is."""

    what: str
    done: int
    total: int


def scored(n_scored: int, n_tokens: int | None) -> str:
    """Such as "155 of 960 tokens"; n_tokens: of the whole text, None where only its beginning was tokenized."""
    return f"{n_scored} tokens" if n_tokens is None else f"{n_scored} of {n_tokens} tokens"


def covered(n_done: int, n_total: int, unit: str = "chunks") -> str:
    """What figures stand on, such as "40 chunks", or "3 of 40 chunks" where not all were measured."""
    return f"{n_done} {unit}" if n_done == n_total else f"{n_done} of {n_total} {unit}"


class Measurement(Handle, ABC, Generic[P, R]):
    """A measurement that goes on by a step each time it is asked for the next; to be iterated over once.

    It counts in units (`unit` is their name): what is done of a unit counts when the unit is complete. Ended early, by
    `break`, Ctrl-C or an error, it keeps the complete ones: `result` is valid from the first of them on. A context
    manager, for those that hold files.
    """

    instead = "make another of the same arguments"
    unit: ClassVar[str] = "chunks"

    @abstractmethod
    def __iter__(self) -> Iterator[P]:
        """Measures; yields progress."""

    @property
    @abstractmethod
    def n_done(self) -> int:
        """Units that are complete."""

    @property
    @abstractmethod
    def n_total(self) -> int:
        """Units of the whole."""

    @abstractmethod
    def result(self) -> R:
        """The figures of the complete units, at least one."""

    @property
    def coverage(self) -> str:
        """How much of the whole `result` stands on, such as "3 of 40 chunks"."""
        return f"{self.n_done} of {self.n_total} {self.unit}"

    def run(self, on_progress: Callable[[P], object] | None = None) -> R:
        """Measures the whole."""
        with memory_errors("measure this"):
            for progress in self:
                if on_progress is not None:
                    on_progress(progress)
            return self.result()

    def close(self) -> None:
        """Lets go of the files that the measurement opened; no result can be made then. Closing twice is no error."""

    def __enter__(self: M) -> M:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
