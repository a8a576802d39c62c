"""Units of a measurement computed elsewhere: by other processes, on other machines, to the same figures.

The figures of a unit, a chunk of the text for most, depend on nothing but files, text and options: not on the units
before it, nor on the number of threads. So any ranges of them can be computed anywhere and joined in order. What is
compared before a run goes on from a checkpoint is compared before a worker begins: no unit is ever of another file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

from subbyte.errors import SubbyteError
from subbyte.kernels import isas
from subbyte.runtime import arguments
from subbyte.runtime.evaluation.checkpoint import Figures, difference
from subbyte.runtime.evaluation.texts import EvalTexts
from subbyte.runtime.handles import Handle
from subbyte.runtime.loading import load
from subbyte.runtime.model import Model
from subbyte.runtime.store.resolve import is_plain_file, name_of


class Divisible(Protocol):
    """A measurement whose units can be computed in any order, each for itself."""

    def conditions(self) -> Mapping[str, object]:
        """What must be the same for its figures to be of use elsewhere."""

    def figures(self, units: range) -> Iterator[Figures]:
        """The figures of some units, in order."""

    def close(self) -> None:
        """Lets go of its files."""


@dataclass(frozen=True)
class ModelFile:
    """A model as another machine finds it: at the same path, or by the name that `load` takes, if it has one."""

    path: Path
    name: str | None
    override_kv: Mapping[str, int | float | bool | str]
    isa: str

    @classmethod
    def of(cls, model: Model) -> ModelFile:
        """That of a loaded model."""
        return cls(model.path.absolute(), name_of(model.path), dict(model.gguf.override_kv), model.isa)

    def open(self, threads: int | None) -> Model:
        """Loads it here. Raises SubbyteError without this instruction set: another one adds up in another order."""
        if self.isa not in isas():
            raise SubbyteError(
                f"instruction set {self.isa} is not on this machine, so its figures would differ in the last digits; "
                f"measure with SUBBYTE_ISA={isas()[-1]}, or without this machine"
            )
        found = self.path if self.name is None or is_plain_file(self.path) else self.name
        return load(found, threads=threads, isa=self.isa, override_kv=self.override_kv)


Argument: TypeAlias = ModelFile | Sequence[ModelFile] | Any
"""Of a measurement: models by their files, all else as it is."""


@dataclass(frozen=True)
class Work:
    """All that it takes to make the same measurement elsewhere, but for the texts, which are large. It can be pickled.

    make: the measurement's class. arguments: those that it is made with, by name. conditions: the measurement's own.
    version: of this package.
    """

    make: Callable[..., Divisible]
    arguments: Mapping[str, Argument]
    conditions: Mapping[str, object]
    version: str = field(default_factory=lambda: version("subbyte"))

    def begin(self, texts: EvalTexts | None, threads: int | None = None) -> Begun:
        """The measurement over files of this machine. Raises SubbyteError where they, or the program, are others."""
        if (here := version("subbyte")) != self.version:
            raise SubbyteError(f"subbyte {here} is here, {self.version} began this measurement; install the same one")
        with ExitStack() as stack:

            def opened(argument: Argument) -> Any:
                if isinstance(argument, ModelFile):
                    return stack.enter_context(argument.open(threads))
                return list(map(opened, argument)) if isinstance(argument, list) else argument

            given = {name: opened(argument) for name, argument in self.arguments.items()}
            measurement = self.make(**given, text=texts)
            stack.callback(measurement.close)
            found = difference(measurement.conditions(), self.conditions, "here", "where the measurement was begun")
            if found:
                raise SubbyteError(f"other files than those of this measurement: {found}; put the same ones here")
            return Begun(measurement, stack.pop_all())


class Begun(Handle):
    """A measurement that a worker has begun: its files are open until it is closed. A context manager."""

    instead = "begin the work once more"

    def __init__(self, measurement: Divisible, opened: ExitStack) -> None:
        self.figures, self._opened = measurement.figures, opened

    def close(self) -> None:
        """Lets go of its files."""
        self._opened.close()

    def __enter__(self) -> Begun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Workers(Protocol):
    """What computes units of measurements."""

    def figures(self, work: Work, texts: EvalTexts | None, units: range) -> Iterator[Figures]:
        """The figures of all these units, in order, each as soon as it and those before it are there."""


def checked_workers(workers: object) -> Workers | None:
    """An argument that takes workers, or None."""
    if workers is not None and not callable(getattr(workers, "figures", None)):
        raise arguments.wrong_kind("workers", workers, "workers, such as a RayWorkers, or None")
    return cast("Workers | None", workers)


PART = 8  # units at most of a range: so little is lost with a worker, and so often progress is seen


def split(units: range, n_workers: int) -> list[range]:
    """Ranges of a few units, for workers to take: so many that none waits long for another at the end."""
    size = max(1, min(PART, len(units) // (4 * n_workers)))
    return [units[i : i + size] for i in range(0, len(units), size)]
