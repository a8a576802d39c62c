"""The same GGUF through subbyte and its peers, and the ratios of their speeds.

    python benchmarks/peers.py model.gguf ... --peer-python PYTHON
    python benchmarks/peers.py --synthetic llama-3.2-1b:all:8 --write docs/performance.md

Each engine runs in a process of its own that stays alive; they take turns (A B, B A, ...), on the same number of
threads, each after a warm-up of its own. Prompts go in batches of 512, a generation is of given tokens from an empty
cache: what llama-bench measures. Ratios are of one round each; given are their median and extremes. In each round the
machine's limits are measured too: int8 (or float) multiply-adds, and reading memory.

llama.cpp is whatever `llama_cpp` the interpreter --peer-python imports; build it for this machine:

    CMAKE_ARGS=-DGGML_NATIVE=ON pip install llama-cpp-python

Results are kept in --results model by model: a run that was broken off goes on where it stopped, and --write renders
all of them. SUBBYTE_ISA limits subbyte, not the peers.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Protocol

import click
from engines.llama_bench import LlamaBench
from engines.turns import EngineError, Worker
from tables.document import put_table
from tables.peers_table import OURS, PEER, render, summary
from tables.records import Rates, Record, Setting, load, put, save

from subbyte.kernels import FORMATS, best_isa
from subbyte.runtime.machine import cpu_name, default_threads
from subbyte.runtime.synthetic import write as synthetic

HERE = Path(__file__).resolve().parent
WHAT = ("prompt", "generation")
PAUSE = 0.05  # seconds between turns, for the threads of the one before to fall asleep


class Engine(Protocol):
    """What takes turns. about: its version, once it has run."""

    name: str
    about: dict[str, str]

    def run(self, what: str) -> float: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Job:
    """A model to measure; file() gives its path for as long as it is needed."""

    model: str
    format: str | None
    file: Callable[[], AbstractContextManager[Path]]


def existing(path: Path) -> AbstractContextManager[Path]:
    return nullcontext(path)


def jobs(models: Sequence[str], synthetics: Sequence[str]) -> Iterator[Job]:
    """The models in the order given. Raises ValueError for a synthetic model that does not exist."""
    for path in models:
        yield Job(Path(path).stem, None, partial(existing, Path(path)))
    for text in synthetics:
        shape, _, rest = text.partition(":")
        types, _, layers = rest.partition(":")
        for name in FORMATS if types == "all" else types.split(","):
            label = ":".join(filter(None, (shape, name, layers)))
            yield Job(label, name if name in FORMATS else None, partial(synthetic.temporary, synthetic.parse(label)))


def take_turns(engines: Sequence[Engine], limits: Engine, rounds: int) -> tuple[dict[str, Rates], Rates]:
    """Rates of every engine and the limits beside them, round by round. Every other round goes backwards."""
    rates: dict[str, Rates] = {engine.name: {what: [] for what in WHAT} for engine in engines}
    limit: Rates = {what: [] for what in WHAT}
    for i in range(rounds):
        for what in WHAT:
            for engine in engines if i % 2 == 0 else reversed(engines):
                time.sleep(PAUSE)
                rates[engine.name][what].append(engine.run(what))
            limit[what].append(limits.run(f"{what} limit"))
    return rates, limit


def measure(job: Job, setting: Setting, rounds: int, peer_python: str, programs: Sequence[tuple[str, str]]) -> Record:
    """Raises EngineError when an engine refuses the model or fails."""
    sizes = setting.prompt, setting.generation, setting.threads
    with ExitStack() as stack:
        path = stack.enter_context(job.file())

        def worker(name: str, python: str, module: str) -> Worker:
            engine = Worker(name, [python, "-m", module, str(path), *map(str, sizes)])
            stack.callback(engine.close)
            return engine

        ours = worker(OURS, sys.executable, "engines.subbyte_engine")
        peers = [LlamaBench(name, program, str(path), *sizes) for name, program in programs]
        engines: list[Engine] = [ours, worker(PEER, peer_python, "engines.llama_cpp_engine"), *peers]
        rates, limits = take_turns(engines, ours, rounds)
        versions = {engine.name: engine.about["version"] for engine in engines}
        mib = path.stat().st_size / 2**20
        return Record(job.model, job.format, mib, date.today().isoformat(), setting, versions, rates, limits)


def warn_if_busy() -> None:
    load, cpus = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load > 0.25 * cpus:
        click.echo(f"Others use this machine (load {load:.1f} on {cpus} processors): ratios will be wrong, since "
                   "engines differ in what waiting for a processor costs them.", err=True)  # fmt: skip


def named_program(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    return (name, path) if equals and "/" not in name else ("llama-bench", text)


@click.command(help=__doc__)
@click.argument("models", nargs=-1, type=click.Path(exists=True, dir_okay=False))
@click.option("--synthetic", "synthetics", multiple=True, metavar="SHAPE:TYPES[:LAYERS]", help="TYPES: a,b,c or all.")
@click.option("--rounds", default=7, type=click.IntRange(1), help="Turns of each engine.")
@click.option("--prompt", default=256, type=click.IntRange(1), help="Tokens of the prompt.")
@click.option("--generation", default=48, type=click.IntRange(1), help="Tokens generated.")
@click.option("--threads", default=default_threads()[0], type=click.IntRange(1), help="Of every engine.")
@click.option("--peer-python", default=sys.executable, help="A Python that imports llama_cpp.")
@click.option("--llama-bench", "programs", multiple=True, metavar="[NAME=]PATH", help="Another peer's llama-bench; the "
              "name ik_llama.cpp replaces its published figures.")  # fmt: skip
@click.option("--results", default=HERE / "peers.json", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--again", is_flag=True, help="Measure also what the results hold already.")
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Put the tables into this document.")
def main(
    models: Sequence[str], synthetics: Sequence[str], rounds: int, prompt: int, generation: int, threads: int,
    peer_python: str, programs: Sequence[str], results: Path, again: bool, write: Path | None,
) -> None:  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as with Ctrl-C, temporary models go
    setting, failed = Setting(cpu_name(), best_isa(), threads, prompt, generation), False
    try:
        records, todo = load(results), list(jobs(models, synthetics))
        if todo:
            warn_if_busy()
        for job in todo:
            if not again and any((r.model, r.setting) == (job.model, setting) for r in records):
                continue
            try:
                record = measure(job, setting, rounds, peer_python, list(map(named_program, programs)))
            except EngineError as error:
                failed = True
                click.echo(f"{job.model}: {error}", err=True)
                continue
            records = put(records, record)
            save(results, records)
            click.echo(summary(record))
        if write is not None:
            put_table(write, "peers", render(records))
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
