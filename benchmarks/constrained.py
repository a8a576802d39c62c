"""What a constraint costs: the time of a token outside the kernels, with and without one, alone and in company.

    python benchmarks/constrained.py MODEL [--tokens 200] [--rounds 5] [--write docs/performance.md]

Outside is everything but the steps in C: Python, masks, sampling, text. In each round free text and records by a JSON
schema, whose texts and numbers the model fills in, are made in turns. Forced tokens cost no step of their own: the
share is of the time of all tokens. Besides, what is done once: for a vocabulary, a constraint, an answer.
"""

import statistics
import time
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import NamedTuple

import click
from processor import processor
from tables.document import put_table

import subbyte as sb
from subbyte.runtime.grammar.trie import token_trie
from subbyte.runtime.scheduler.scheduler import Scheduler
from subbyte.runtime.session.prefixes import Prefixes
from subbyte.runtime.types import SessionOptions

RECORD = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 30},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "city": {"enum": ["Berlin", "Paris", "Tokyo"]},
        "note": {"type": "string", "maxLength": 80},
        "scores": {"type": "array", "items": {"type": "number"}, "maxItems": 4},
    },
    "required": ["name", "age", "city", "note", "scores"],
    "additionalProperties": False,
}
SCHEMA = {"type": "array", "items": RECORD, "minItems": 1000}
PROMPT = "A list of people, as JSON, with a note about each of them:\n"


class Spent(NamedTuple):
    """Seconds of some tokens, and how many of those in steps."""

    seconds: float
    steps: float
    n_tokens: int

    @property
    def share(self) -> float:
        """Of the time outside the kernels."""
        return 1 - self.steps / self.seconds

    @property
    def micros(self) -> float:
        """Microseconds of a token outside the kernels."""
        return 1e6 * (self.seconds - self.steps) / self.n_tokens


def spent(model: sb.Model, constraint: sb.Constraint | None, n_sequences: int, n_tokens: int) -> Spent:
    """What n_sequences answers at once cost, each of n_tokens."""
    options = SessionOptions(n_tokens + 64, checkpoint_bytes=0)
    runner = model.runner(options)
    one = model.plan.cache_bytes(runner.n_ctx, "f16")
    everything = Scheduler(
        runner, Prefixes(), options, max_bytes=2 * n_sequences * one, n_parallel=n_sequences, n_waiting=n_sequences
    )
    with everything as scheduler:
        start = time.perf_counter()
        answers = [
            model.generate(
                PROMPT, max_tokens=n_tokens, constraint=constraint, scheduler=scheduler,
                sampling=sb.Sampling(seed=i, ignore_eos=constraint is None),
            )
            for i in range(n_sequences)
        ]  # fmt: skip
        n = sum(answer.run().usage.completion for answer in answers)
        return Spent(time.perf_counter() - start, runner.engine.seconds, n)


def once(model: sb.Model) -> str:
    """What is done once, as a sentence."""
    times = []
    for work in (
        lambda: token_trie(model.tokenizer),
        lambda: sb.Constraint.json_schema(SCHEMA),
        lambda: sb.Constraint.json_schema(SCHEMA).matcher(model.tokenizer),
    ):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    trie, constraint, both = times
    vocabulary = f"{trie:.2f} s for a vocabulary of {model.info.n_vocab} tokens"
    rest = f"{1e3 * constraint:.1f} ms for the constraint, {1e3 * (both - constraint):.1f} ms for an answer"
    return f"Once: {vocabulary}, {rest}."


@click.command(help=__doc__)
@click.argument("path", metavar="MODEL")
@click.option("--tokens", default=200, help="Of each answer.")
@click.option("--rounds", default=5)
@click.option("--write", type=click.Path(exists=True, path_type=Path), help="The page that has the table's markers.")
def main(path: str, tokens: int, rounds: int, write: Path | None) -> None:
    """See the module."""
    found: dict[tuple[int, bool], list[Spent]] = defaultdict(list)
    with sb.load(path) as model:
        lines = [once(model), "", "| model | at once | constraint | outside, µs of a token | share of its time |"]
        lines.append("|---|---:|---|---:|---:|")
        constraint = sb.Constraint.json_schema(SCHEMA)
        for _ in range(rounds):
            for n in (1, 8):
                for each in (None, constraint):
                    found[n, each is not None].append(spent(model, each, n, tokens))
        for (n, constrained), runs in found.items():
            micros, shares = ([getattr(run, name) for run in runs] for name in ("micros", "share"))
            what = f"{model.info.name} | {n} | {'JSON schema' if constrained else 'none'}"
            share = f"{statistics.median(shares):.1%} [{min(shares):.1%} .. {max(shares):.1%}]"
            lines.append(f"| {what} | {statistics.median(micros):.0f} | {share} |")
        lines += ["", f"{processor()}, {model.isa}, {model.n_threads} threads, {date.today()}."]
    print(table := "\n".join(lines))
    if write is not None:
        put_table(write, "constrained", table)


if __name__ == "__main__":
    main()
