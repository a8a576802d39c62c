"""Generation while other processes hold the processors: tokens/s of subbyte and its peers, and shares of the quiet.

    python benchmarks/busy.py model.gguf --llama-bench llama.cpp=PATH --llama-bench ik_llama.cpp=PATH

A busy loop is a process that computes without end; --loops gives their numbers. In each round every engine generates
the same tokens from an empty cache, without loops and with them, in turns (A B, B A, ...); a share is of one round.
What waits for its threads by spinning takes the processor from the thread it waits for: that is what this shows.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import date
from pathlib import Path
from statistics import median

import click
from engines import selection
from engines.selection import Engine, Peer
from engines.turns import EngineError
from processor import processor
from tables.document import put_table
from tables.peers_table import head, line
from tables.records import Setting, paired

from subbyte.kernels import best_isa
from subbyte.runtime.machine import default_threads

Rates = Mapping[str, Mapping[int, list[float]]]  # tokens/s by engine and number of loops, round by round

# It asks again and again whether its parent lives, so that it does not outlive one that was killed.
BUSY_LOOP = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    for _ in range(100_000): pass"


@contextmanager
def busy_loops(n: int) -> Iterator[list[int]]:
    """n processes that compute until the end of the block, or of this process; their ids."""
    command = [sys.executable, "-I", "-S", "-c", BUSY_LOOP, str(os.getpid())]
    loops: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(n):
            loops.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        yield [loop.pid for loop in loops]
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def take_turns(engines: Sequence[Engine], numbers: Sequence[int], rounds: int) -> Rates:
    """Every engine beside every number of loops; every other round goes backwards. Raises EngineError."""
    rates: dict[str, dict[int, list[float]]] = {engine.name: {n: [] for n in numbers} for engine in engines}
    for i in range(rounds):
        forwards = i % 2 == 0
        for n in numbers if forwards else reversed(numbers):
            with busy_loops(n):
                for engine in engines if forwards else reversed(engines):
                    time.sleep(selection.PAUSE)
                    rates[engine.name][n].append(engine.run("generation"))
    return rates


def measure(
    model: Path, setting: Setting, peers: Sequence[Peer], numbers: Sequence[int], rounds: int
) -> tuple[Rates, list[str]]:
    """Rates, and the engines' versions. Raises EngineError when one does not run the model."""
    with ExitStack() as stack:
        starts = [selection.ours, *(peer.start for peer in peers)]
        engines = [stack.enter_context(closing(start(model, setting))) for start in starts]
        return take_turns(engines, numbers, rounds), [engine.about["version"] for engine in engines]


def table(rates: Rates) -> str:
    """Markdown: a line an engine, medians of tokens/s and of shares with their extremes."""
    numbers = list(next(iter(rates.values())))
    columns = ["engine", "quiet", *(cell for n in numbers[1:] for cell in (loops_text(n), "of quiet"))]
    lines = [head(columns)]
    for name, by_loops in rates.items():
        quiet = by_loops[0]
        cells = [name, f"{median(quiet):.1f}"]
        for n in numbers[1:]:
            cells += [f"{median(by_loops[n]):.1f}", str(paired(by_loops[n], quiet))]
        lines.append(line(cells))
    return "\n".join(lines)


def loops_text(n: int) -> str:
    return f"{n} busy loop{'s' if n > 1 else ''}"


def parse_loops(text: str) -> list[int]:
    """The numbers in "1,2", with 0, the quiet, before them."""
    words = text.split(",")
    if not all(word.isdigit() and int(word) > 0 for word in words):
        raise ValueError(f"--loops {text}: expected numbers of busy loops from 1 up, such as 1,2")
    return [0, *sorted({int(word) for word in words})]


@click.command(help=__doc__)
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--loops", default="1,2", metavar="N,N,...", help="Numbers of busy loops.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Turns of each engine beside each number of loops.")
@click.option("--generation", default=32, type=click.IntRange(1), help="Tokens generated.")
@click.option("--threads", default=default_threads()[0], type=click.IntRange(1), help="Of every engine.")
@selection.peer_python
@selection.llama_bench
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Put the table into this document.")
def main(
    model: Path, loops: str, rounds: int, generation: int, threads: int, peer_python: str | None,
    programs: Sequence[str], write: Path | None,
) -> None:  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as with Ctrl-C, engines and loops end
    setting = Setting(processor(), best_isa(), threads, generation, generation)
    try:
        peers, numbers = selection.peers(peer_python, programs), parse_loops(loops)
        rates, versions = measure(model, setting, peers, numbers, rounds)
        words = [model.name, f"--loops {loops} --rounds {rounds} --generation {generation}"]
        text = "\n\n".join([
            f"    {selection.shown_command('busy.py', words, threads, peers)}",
            f"{setting.machine}, {threads} threads, instruction set {setting.isa}; {', '.join(versions)}; {rounds} "
            f"rounds; {date.today().isoformat()}. Generation, {generation} tokens, tokens/s:",
            table(rates),
        ])  # fmt: skip
        click.echo(text)
        if write is not None:
            put_table(write, "busy", text)
    except (EngineError, ValueError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
