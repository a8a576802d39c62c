"""Which block types a machine runs fast: those that no larger one outruns, by what is measured there and then."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from subbyte.kernels import FORMATS
from subbyte.runtime.bench.type_speeds import TypeSpeed, measure_type_speeds
from subbyte.runtime.machine import cpu_name
from subbyte.runtime.measurement import Step
from subbyte.runtime.records import Record
from subbyte.runtime.search.kept import KeptFigures, digest_of
from subbyte.runtime.text import one_line

FASTER = 1.25  # of a larger type's rate to this one's: what is less may be chance
ALIKE = 1 / 1.1  # rates from there on are as good as equal


@dataclass(frozen=True, slots=True)
class SlowType(Record):
    """A block type that a larger one outruns. generation, prompt: how many times the larger one's rate is its own."""

    type: str
    larger: str
    generation: float
    prompt: float

    def __str__(self) -> str:
        return f"{self.type} ({self.larger}: {self.generation:.2f}, {self.prompt:.2f})"


@dataclass(frozen=True, slots=True)
class FastTypes(Record):
    """What was measured of block types with one instruction set, and those that were left out for it.

    cpu: where. threads: how many multiplied. speeds: of all types that there were to choose from.
    """

    isa: str
    cpu: str
    threads: int
    speeds: tuple[TypeSpeed, ...]
    slow: tuple[SlowType, ...]

    def __str__(self) -> str:
        slow = ", ".join(map(str, self.slow)) or "none"
        return one_line(
            f"types left out as slow with {self.isa} on {self.cpu}, {self.threads} threads, where a larger one "
            f"generates and reads prompts so many times as fast: {slow}"
        )


def find_fast_types(
    choices: Sequence[Sequence[str]], isa: str, n_threads: int, figures: KeptFigures
) -> Generator[Step, None, FastTypes]:
    """Measures types and compares those that there are to choose from together; yields progress.

    Rates are kept, so that a search goes on with the types that it began with.
    """
    types = sorted({type for of in choices for type in of}, key=list(FORMATS).index)
    cpu = cpu_name()
    name = digest_of("speeds of types", version("subbyte"), cpu, isa, n_threads, types)
    rates = figures.get(name)
    if rates is None or len(rates) != 2 * len(types) or min(rates) <= 0:
        speeds = yield from measure_type_speeds(types, isa, n_threads)
        figures.put(name, [rate for of in speeds for rate in (of.generation, of.prompt)])
    else:
        speeds = tuple(map(TypeSpeed, types, rates[::2], rates[1::2]))
    slow = [each for of in choices for each in slow_types([speed for speed in speeds if speed.type in of])]
    return FastTypes(isa, cpu, n_threads, speeds, tuple(slow))


def slow_types(speeds: Sequence[TypeSpeed]) -> list[SlowType]:
    """The types that a larger one outruns, so that only their size speaks for them.

    The larger one, which is none of them itself and has blocks that fit the same rows, has at least FASTER times the
    rate for a token or for a prompt, and no less than ALIKE for the other.
    """
    kept: list[TypeSpeed] = []
    slow: list[SlowType] = []
    for of in sorted(speeds, key=lambda speed: FORMATS[speed.type].bits_per_weight, reverse=True):
        ratios = [
            SlowType(of.type, other.type, other.generation / of.generation, other.prompt / of.prompt)
            for other in kept
            if FORMATS[other.type].bits_per_weight > FORMATS[of.type].bits_per_weight
            and FORMATS[other.type].block_size <= FORMATS[of.type].block_size
        ]
        outrun = [
            each
            for each in ratios
            if max(each.generation, each.prompt) >= FASTER and min(each.generation, each.prompt) >= ALIKE
        ]
        if outrun:
            slow.append(max(outrun, key=lambda each: each.generation * each.prompt))
        else:
            kept.append(of)
    return slow
