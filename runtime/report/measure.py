"""What a report is made of beside losses: digests of files and speeds of models."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from subbyte.runtime.bench.bench import BenchMeasurement
from subbyte.runtime.bench.result import Kind
from subbyte.runtime.files import open_regular
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.measurement import Step
from subbyte.runtime.model import Model
from subbyte.runtime.records import Record
from subbyte.runtime.types import CacheType

HASHED_AT_ONCE = 1 << 24  # bytes


@dataclass(frozen=True, slots=True)
class Speed(Record):
    """Tokens/s: the median of the runs, their median distance from it, and the share of the roofline.

    test: as llama-bench names it, "pp512". bound_by: "memory" or "compute".
    """

    test: str
    rate: float
    spread: float
    share: float
    bound_by: str


def digests(models: Sequence[GGUF]) -> Generator[Step, None, list[dict[str, str]]]:
    """sha256 of all files of each model, by file name."""
    total, done = sum(gguf.size for gguf in models), 0

    def digest(path: Path) -> Generator[Step, None, str]:
        nonlocal done
        sha256 = hashlib.sha256()
        with open_regular(path) as file:
            while data := file.read(HASHED_AT_ONCE):
                sha256.update(data)
                done += len(data)
                yield Step(f"sha256 of {path.name}", done, total)
        return sha256.hexdigest()

    all_models = []
    for gguf in models:
        of_model = {}
        for path in gguf.paths:
            of_model[path.name] = yield from digest(path)
        all_models.append(of_model)
    return all_models


def measure_speeds(
    model: Model, prompt: int, generation: int, repeats: int, cache_type: CacheType, speeds: dict[Kind, Speed]
) -> Iterator[Step]:
    """The speeds of a prompt of so many tokens and of so many generated ones.

    speeds: takes them, also those that are known when the measurement is ended early.
    """
    with BenchMeasurement(
        model, prompt=[prompt], generate=[generation], threads=[model.n_threads], repeats=repeats,
        cache_type=cache_type,
    ) as bench:  # fmt: skip
        try:
            for step in bench:
                yield step._replace(what=f"{model.path.name}: {step.what}")
        finally:
            for of in bench.result().measured if bench.n_done else ():
                speeds[of.case.kind] = Speed(of.case.name, of.rate, of.spread, of.share, of.bound_by)
