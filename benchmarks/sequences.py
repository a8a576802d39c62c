"""Several sequences in one step: tokens/s of all together, and how many times that of one sequence it is.

    python benchmarks/sequences.py model.gguf
    python benchmarks/sequences.py --synthetic llama-3.2-1b:Q4_K,IQ2_XXS:8 --write docs/performance.md

Weights are read and unpacked once for all tokens of a step: what a server of several conversations gains. Each round
generates the same given tokens with every number of sequences, forwards and backwards in turns; a ratio is of a round.
Where other processes keep the machine busy, --processor-time leaves out what they took, as far as a clock can: caches
and memory they still share.
"""

import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

import click
import numpy as np
from engines import llama_batched_bench, selection
from engines.turns import EngineError
from peers import jobs
from processor import processor
from tables.document import put_table
from tables.peers_table import head, line
from tables.records import paired

import subbyte
from subbyte.kernels import best_isa
from subbyte.runtime.machine import default_threads
from subbyte.runtime.session.runner import Runner, Segment
from subbyte.runtime.types import SessionOptions

Rates = Mapping[int, Sequence[float]]  # tokens/s by number of sequences, round by round


def run(runner: Runner, n_sequences: int, n_steps: int, clock: Callable[[], float]) -> float:
    """Tokens/s of n_steps steps after one to warm up, from empty caches, each token with its logits."""
    sequences = [runner.new_sequence("f16") for _ in range(n_sequences)]
    start = 0.0
    for i in range(n_steps + 1):
        if i == 1:
            start = clock()
        runner.step([Segment(s, np.array([i + 1], np.int32), range(1)) for s in sequences])
    return n_sequences * n_steps / (clock() - start)


def measure(
    model: Path, numbers: Sequence[int], n_steps: int, n_threads: int, rounds: int, clock: Callable[[], float],
    peer: Path | None = None,
) -> tuple[Rates, Rates]:  # fmt: skip
    """Our rates and, in turns with them, the peer's. Raises what loading a model raises, and EngineError."""
    ours: dict[int, list[float]] = {n: [] for n in numbers}
    theirs: dict[int, list[float]] = {n: [] for n in numbers if peer is not None}
    with subbyte.load(model, threads=n_threads) as loaded:
        runner = loaded.runner(SessionOptions(max(n_steps + 1, *numbers)))  # a step has n_ctx tokens at most
        for i in range(rounds):
            for n in numbers if i % 2 == 0 else reversed(numbers):
                ours[n].append(run(runner, n, n_steps, clock))
            if peer is not None:
                for n, rate in llama_batched_bench.rates(peer, model, numbers, n_steps, n_threads).items():
                    theirs[n].append(rate)
    return ours, theirs


def row(model: str, rates: Rates) -> str:
    """Markdown: tokens/s of one sequence; of more, with medians of ratios and their extremes."""
    one, *more = rates
    cells = [model, f"{median(rates[one]):.1f}"]
    for n in more:
        cells += [f"{median(rates[n]):.1f}", str(paired(rates[n], rates[one]))]
    return line(cells)


def peer_rows(ours: Rates, theirs: Rates) -> list[str]:
    """Markdown: the peer's row, and how many times its tokens/s ours are; none without a peer."""
    if not theirs:
        return []
    one, *more = theirs
    cells = ["our tokens/s to llama.cpp's", str(paired(ours[one], theirs[one]))]
    for n in more:
        cells += [str(paired(ours[n], theirs[n])), ""]
    return [row("llama.cpp", theirs), line(cells)]


def parse_numbers(text: str) -> list[int]:
    """The numbers in "2,4,8", with 1 before them."""
    words = text.split(",")
    if not all(word.isdigit() and 1 < int(word) <= 64 for word in words):
        raise ValueError(f"--sequences {text}: expected numbers from 2 to 64, such as 2,4,8")
    return [1, *sorted({int(word) for word in words})]


@click.command(help=__doc__)
@click.argument("models", nargs=-1, type=click.Path(exists=True, dir_okay=False))
@click.option("--synthetic", "synthetics", multiple=True, metavar="SHAPE:TYPES[:LAYERS]", help="TYPES: a,b,c or all.")
@click.option("--sequences", default="2,4,8,16,32", metavar="N,N,...", help="Numbers of sequences beside one.")
@click.option("--rounds", default=5, type=click.IntRange(1), help="Turns of each number of sequences.")
@click.option("--steps", default=16, type=click.IntRange(1), help="Tokens of each sequence.")
@click.option("--threads", default=default_threads()[0], type=click.IntRange(1))
@click.option("--processor-time", is_flag=True, help="Count processor time; takes --threads 1.")
@click.option(
    "--llama-batched-bench", "peer", metavar="PATH", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="llama.cpp's program, which is measured in turns with us.",
)  # fmt: skip
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Put the table into this document.")
def main(
    models: Sequence[str], synthetics: Sequence[str], sequences: str, rounds: int, steps: int, threads: int,
    processor_time: bool, peer: Path | None, write: Path | None,
) -> None:  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as with Ctrl-C, temporary models go
    if processor_time and threads > 1:
        raise click.UsageError(f"--processor-time with {threads} threads; waiting counts, so it takes --threads 1")
    if processor_time and peer is not None:
        raise click.UsageError("--processor-time with --llama-batched-bench, which counts by the clock")
    machine, isa = processor(), best_isa()
    try:
        clock, second = (time.process_time, "s of processor time") if processor_time else (time.perf_counter, "s")
        numbers, todo = parse_numbers(sequences), list(jobs(models, synthetics))
        columns = ["type or model", "1", *(cell for n in numbers[1:] for cell in (str(n), "of 1"))]
        rows = [head(columns)]
        for job in todo:
            with job.file() as path:
                ours, theirs = measure(path, numbers, steps, threads, rounds, clock, peer)
            more = [row(job.format or job.model, ours), *peer_rows(ours, theirs)]
            click.echo("\n".join(more), err=True)
            rows += more
        words = [Path(model).name for model in models] + [f"--synthetic {text}" for text in synthetics]
        words.append(f"--sequences {sequences} --rounds {rounds} --steps {steps}")
        if processor_time:
            words.append("--processor-time")
        if peer is not None:
            words.append("--llama-batched-bench PATH")
        text = "\n\n".join([
            f"    {selection.shown_command('sequences.py', words, threads, [])}",
            f"{machine}, {threads} threads, instruction set {isa}; subbyte {version('subbyte')}; {rounds} rounds; "
            f"{date.today().isoformat()}. Tokens/{second} by number of sequences:",
            "\n".join(rows),
        ])  # fmt: skip
        click.echo(text)
        if write is not None:
            put_table(write, f"sequences: {machine}, {isa}", text)
    except (subbyte.SubbyteError, EngineError, ValueError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
