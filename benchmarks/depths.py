"""Speed at depths of a conversation, and what of a token's time goes to which operations.

    python benchmarks/depths.py qwen3.5-4b:Q4_K lfm2-1.2b:Q4_K [--depths 0,4096,32768] [--prompt 512] [--generation 64]

Random models (SHAPE:TYPE[:LAYERS], as in `subbyte bench --synthetic`) or files. The tokens before a depth are not
computed: keys, values and states are zeros there, which takes as long to read and to multiply as others do. The times
of operations are of single tokens, each operation run as a step of its own, the least of a few; together they take a
little longer than the step of all.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from sizes import file_of, tell

import subbyte as sb
from subbyte.runtime.machine import cpu_name, default_threads
from subbyte.runtime.session.runner import Runner, Segment
from subbyte.runtime.session.sequence import Sequence as TokenSequence
from subbyte.runtime.types import SessionOptions

STATES = ("delta_net", "mamba2", "short_conv")
SAMPLES = 5  # tokens whose operations are timed one by one
WARM_UP = 2  # tokens


@contextmanager
def opened(label: str) -> Iterator[Path]:
    """A file by its path, or a random model for as long as it is needed."""
    if Path(label).exists():
        yield Path(label)
    else:
        with file_of(label, None) as path:
            yield path


def at_depth(runner: Runner, depth: int) -> TokenSequence:
    """A sequence as if it had read depth tokens."""
    sequence = runner.new_sequence("f16")
    sequence.tokens, sequence.n_held = [0] * depth, depth
    sequence.cache.set_state(np.zeros(runner.plan.state_bytes, np.uint8), depth)
    return sequence


def prompt_rate(runner: Runner, tokens: NDArray[np.int32], depth: int) -> float:
    """Tokens/s of a prompt at a depth, for the logits of its last token."""
    sequence = at_depth(runner, depth)
    start = time.perf_counter()
    for first in range(0, len(tokens), runner.n_batch):
        batch = tokens[first : first + runner.n_batch]
        last = first + len(batch) == len(tokens)
        runner.step([Segment(sequence, batch, range(len(batch) - last, len(batch)))])
    return len(tokens) / (time.perf_counter() - start)


def generation_rate(runner: Runner, tokens: NDArray[np.int32], depth: int) -> float:
    """Tokens/s one by one at a depth, each for its logits."""
    sequence = at_depth(runner, depth)
    for i in range(WARM_UP):
        runner.step([Segment(sequence, tokens[i : i + 1], range(1))])
    start = time.perf_counter()
    for i in range(WARM_UP, len(tokens)):
        runner.step([Segment(sequence, tokens[i : i + 1], range(1))])
    return (len(tokens) - WARM_UP) / (time.perf_counter() - start)


def operation_times(runner: Runner, depth: int) -> dict[str, float]:
    """Milliseconds a token: of attention, of recurrent states, and of all that multiplies weights or is little."""
    sequence, engine = at_depth(runner, depth), runner.engine
    kinds = [operation.kind for operation in runner.plan.operations[:-1]]
    least = np.full(len(kinds), np.inf)
    token = np.zeros(1, np.int32)
    for sample in range(SAMPLES):
        for i in range(len(kinds)):
            before = engine.seconds
            engine.step(token, ((sequence.cache, 1, depth + sample),), operations=(i, i + 1))
            least[i] = min(least[i], engine.seconds - before)
    times: dict[str, float] = defaultdict(float)
    for kind, seconds in zip(kinds, least, strict=True):
        times["states" if kind in STATES else "attention" if kind == "attention" else "the rest"] += 1e3 * seconds
    return times


def rows(label: str, depths: Sequence[int], lengths: tuple[int, int], rounds: int, threads: int) -> Iterator[str]:
    """A table's line for each depth: medians of the rounds."""
    n_prompt, n_generated = lengths
    with opened(label) as path, sb.load(path, threads=threads) as model:
        rng = np.random.default_rng(0)
        tokens = rng.integers(0, model.config.n_vocab, max(n_prompt, n_generated) + WARM_UP).astype(np.int32)
        for depth in depths:
            tell(f"{label}: depth {depth}")
            n_ctx = depth + len(tokens) + SAMPLES
            runner = model.runner(SessionOptions(n_ctx))
            prompts = [prompt_rate(runner, tokens[:n_prompt], depth) for _ in range(rounds)]
            generations = [generation_rate(runner, tokens[: n_generated + WARM_UP], depth) for _ in range(rounds)]
            times = operation_times(runner, depth)
            figures = (f"{times[of]:.2f}" for of in ("states", "attention", "the rest"))
            memory = (model.plan.cache_bytes(n_ctx, "f16") - model.plan.state_bytes, model.plan.state_bytes)
            sizes = " | ".join(f"{n_bytes / 1e6:.1f}" for n_bytes in memory)
            speeds = f"{np.median(prompts):.1f} | {np.median(generations):.2f}"
            yield f"| {label} | {depth} | {speeds} | {' | '.join(figures)} | {sizes} |"


@click.command(help=__doc__)
@click.argument("models", nargs=-1, required=True)
@click.option("--depths", default="0,4096,32768", show_default=True)
@click.option("--prompt", default=512, show_default=True)
@click.option("--generation", default=64, show_default=True)
@click.option("--rounds", default=1, show_default=True)
@click.option("--threads", default=default_threads()[0], show_default=True)
def main(models: tuple[str, ...], depths: str, prompt: int, generation: int, rounds: int, threads: int) -> None:
    click.echo(f"{cpu_name()}, {threads} threads; tokens/s; milliseconds a token in operations; MB:\n")
    click.echo(f"| model | depth | pp{prompt} | tg{generation} | states | attention | the rest | KV cache | states |")
    click.echo("|---|---|---|---|---|---|---|---|---|")
    for label in models:
        for row in rows(label, [int(depth) for depth in depths.split(",")], (prompt, generation), rounds, threads):
            click.echo(row)


if __name__ == "__main__":
    main()
