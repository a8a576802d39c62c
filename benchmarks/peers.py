"""The same GGUF through subbyte and its peers, and the ratios of their speeds.

    python benchmarks/peers.py model.gguf ... --llama-bench llama.cpp=PATH --llama-bench ik_llama.cpp=PATH
    python benchmarks/peers.py --synthetic llama-3.2-1b:all:8 --peer-python PYTHON --write docs/performance.md

Engines take turns (A B, B A, ...), on the same number of threads, each after a warm-up of its own; subbyte and
llama_cpp in processes that stay alive, a llama-bench in one process a turn. Prompts go in batches of 512, a generation
is of given tokens from an empty cache: what llama-bench measures. Ratios are of one round each; given are their median
and extremes. In each round the machine's limits are measured too: int8 (or float) multiply-adds, and reading memory.

llama.cpp is the llama-bench of that name, or what `llama_cpp` the interpreter --peer-python imports. Build it for the
instruction set that subbyte is to use, which SUBBYTE_ISA limits for subbyte alone; for all that this machine has:

    cmake -B build -DGGML_NATIVE=ON && cmake --build build --target llama-bench
    CMAKE_ARGS=-DGGML_NATIVE=ON pip install llama-cpp-python

Results are kept in --results model by model: a run that was broken off goes on where it stopped. --write renders all of
them, those of each machine and instruction set between markers of their own.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import click
from engines import selection
from engines.selection import Engine, Peer
from engines.turns import EngineError
from processor import processor
from tables.document import put_table
from tables.peers_table import render, summary
from tables.records import Rates, Record, Setting, load, put, save

from subbyte.kernels import FORMATS, best_isa
from subbyte.runtime.machine import default_threads
from subbyte.runtime.synthetic import write as synthetic

HERE = Path(__file__).resolve().parent
WHAT = ("prompt", "generation")


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
                time.sleep(selection.PAUSE)
                rates[engine.name][what].append(engine.run(what))
            limit[what].append(limits.run(f"{what} limit"))
    return rates, limit


def measure(job: Job, setting: Setting, rounds: int, peers: Sequence[Peer], command: str) -> Record:
    """Raises EngineError when subbyte or all peers refuse the model, or one fails that had begun."""
    with ExitStack() as stack:
        path = stack.enter_context(job.file())
        ours = stack.enter_context(closing(selection.ours(path, setting)))
        engines: list[Engine] = [ours]
        failed: dict[str, str] = {}
        for peer in peers:
            try:
                engines.append(stack.enter_context(closing(peer.start(path, setting))))
            except EngineError as error:
                failed[peer.name] = str(error)
        if len(engines) == 1:
            raise EngineError("; ".join(failed.values()))
        rates, limits = take_turns(engines, ours, rounds)
        versions = {engine.name: engine.about["version"] for engine in engines}
        mib, today = path.stat().st_size / 2**20, date.today().isoformat()
        return Record(job.model, job.format, mib, today, setting, command, versions, rates, limits, failed)


def warn_if_busy() -> None:
    load, cpus = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load > 0.25 * cpus:
        click.echo(f"Others use this machine (load {load:.1f} on {cpus} processors): ratios will be wrong, since "
                   "engines differ in what waiting for a processor costs them.", err=True)  # fmt: skip


@click.command(help=__doc__)
@click.argument("models", nargs=-1, type=click.Path(exists=True, dir_okay=False))
@click.option("--synthetic", "synthetics", multiple=True, metavar="SHAPE:TYPES[:LAYERS]", help="TYPES: a,b,c or all.")
@click.option("--rounds", default=7, type=click.IntRange(1), help="Turns of each engine.")
@click.option("--prompt", default=256, type=click.IntRange(1), help="Tokens of the prompt.")
@click.option("--generation", default=48, type=click.IntRange(1), help="Tokens generated.")
@click.option("--threads", default=default_threads()[0], type=click.IntRange(1), help="Of every engine.")
@selection.peer_python
@selection.llama_bench
@click.option("--results", default=HERE / "peers.json", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--again", is_flag=True, help="Measure also what the results hold already.")
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Put the tables into this document.")
def main(
    models: Sequence[str], synthetics: Sequence[str], rounds: int, prompt: int, generation: int, threads: int,
    peer_python: str | None, programs: Sequence[str], results: Path, again: bool, write: Path | None,
) -> None:  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as with Ctrl-C, temporary models go
    setting, failed = Setting(processor(), best_isa(), threads, prompt, generation), False
    try:
        records, todo, peers = load(results), list(jobs(models, synthetics)), selection.peers(peer_python, programs)
        words = [Path(model).name for model in models] + [f"--synthetic {text}" for text in synthetics]
        words.append(f"--rounds {rounds} --prompt {prompt} --generation {generation}")
        command = selection.shown_command("peers.py", words, threads, peers)
        if todo and not peers:
            raise ValueError("no peer to compare with; give --llama-bench NAME=PATH or --peer-python PYTHON")
        if todo:
            warn_if_busy()
        for job in todo:
            if not again and is_measured(job, setting, peers, records):
                continue
            try:
                record = measure(job, setting, rounds, peers, command)
            except EngineError as error:
                failed = True
                click.echo(f"{job.model}: {error}", err=True)
                continue
            for reason in record.failed.values():
                click.echo(f"{job.model}: {reason}", err=True)
            records = put(records, record)
            save(results, records)
            click.echo(summary(record))
        if write is not None:
            for name, tables in render(records).items():
                put_table(write, name, tables)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    sys.exit(1 if failed else 0)


def is_measured(job: Job, setting: Setting, peers: Sequence[Peer], records: Sequence[Record]) -> bool:
    """Whether the results hold the model with all of these peers."""
    names = {peer.name for peer in peers}
    return any((r.model, r.setting) == (job.model, setting) and names <= set(r.peers) for r in records)


if __name__ == "__main__":
    main()
