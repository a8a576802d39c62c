"""Scores of many candidates behind one prefix: seconds of `Model.score(prefix, candidates)` and of the naive way.

    python benchmarks/candidates.py smollm2
    python benchmarks/candidates.py model.gguf --candidates 10 --prefix 1000

The naive way scores prefix and candidate as one text, for each candidate. Both take turns; a ratio is of a round.
Beside them: the prefix with one candidate, which is what reading it takes.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

import click
import numpy as np
from processor import processor
from tables.records import paired

import subbyte
from subbyte.kernels import best_isa
from subbyte.runtime.machine import default_threads
from subbyte.runtime.types import SessionOptions


class Task(NamedTuple):
    """Token ids of a prefix and of candidates, at random."""

    prefix: list[int]
    candidates: list[list[int]]


def task(model: subbyte.Model, n_prefix: int, n_candidates: int, n_tokens: int) -> Task:
    ids = np.random.default_rng(0).integers(0, model.config.n_vocab, n_prefix + n_candidates * n_tokens).tolist()
    return Task(ids[:n_prefix], [ids[i : i + n_tokens] for i in range(n_prefix, len(ids), n_tokens)])


def naive(model: subbyte.Model, of: Task) -> list[np.ndarray]:
    """The log-probabilities of each candidate, from a session of its own."""
    found = []
    for candidate in of.candidates:
        tokens = of.prefix + candidate
        with model.open_session(SessionOptions(len(tokens), activations="int8x2")) as session:
            found.append(session.logprobs(tokens[:-1], candidate, len(of.prefix) - 1))
    return found


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(model: subbyte.Model, of: Task, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, round by round. Raises ValueError where their results differ by a bit."""
    ways: dict[str, Callable[[], object]] = {
        "the prefix with one candidate": lambda: model.score(of.prefix, of.candidates[:1]),
        "with all candidates": lambda: model.score(of.prefix, of.candidates),
        "the naive way": lambda: naive(model, of),
    }
    together = [scored.logprobs for scored in model.score(of.prefix, of.candidates)]
    if not all(map(np.array_equal, together, naive(model, of))):
        raise ValueError("the two ways differ")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(rounds):
        for name in ways if i % 2 == 0 else reversed(ways):
            times[name].append(seconds(ways[name]))
    return times


def lines(times: dict[str, Sequence[float]]) -> list[str]:
    """Medians of seconds, and of ratios to the first way with their extremes."""
    first = next(iter(times.values()))
    return [f"{name:32} {median(each):8.3f} s   {paired(each, first)} of the first" for name, each in times.items()]


@click.command(help=__doc__)
@click.argument("model")
@click.option("--prefix", "n_prefix", default=300, type=click.IntRange(1), help="Tokens of the prefix.")
@click.option("--candidates", default=100, type=click.IntRange(1), help="How many there are.")
@click.option("--tokens", default=4, type=click.IntRange(1), help="Of each candidate.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Turns of each way.")
@click.option("--threads", default=default_threads()[0], type=click.IntRange(1))
def main(model: str, n_prefix: int, candidates: int, tokens: int, rounds: int, threads: int) -> None:
    try:
        with subbyte.load(model, threads=threads) as loaded:
            times = measure(loaded, task(loaded, n_prefix, candidates, tokens), rounds)
    except (subbyte.SubbyteError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(
        f"{processor()}, {threads} threads, instruction set {best_isa()}; {candidates} candidates of {tokens} "
        f"tokens behind {n_prefix}; {rounds} rounds"
    )
    click.echo("\n".join(lines(times)))


if __name__ == "__main__":
    main()
