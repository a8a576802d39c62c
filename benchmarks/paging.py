"""Generation with a mixture larger than memory: tokens/s with its experts read ahead, and without.

    python benchmarks/paging.py --synthetic qwen3-30b-a3b:Q4_K:8 --limit 1600

Processes in a memory control group of --limit MB run the model without and with in turns (A B, then B A, …), each from
a file of which nothing is in memory at first. Tokens are random, and follow some unmeasured ones, which fill the group.
Needs Linux, and the right to make control groups (root).
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

import click
from tables.document import put_table

from subbyte.runtime.machine import cpu_name, default_threads
from subbyte.runtime.store.resolve import resolve
from subbyte.runtime.synthetic.write import parse, temporary

CGROUPS = Path("/sys/fs/cgroup")
CHILD = """
import json, os, resource, sys, time
from pathlib import Path
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
import numpy as np
import subbyte as sb
from subbyte.runtime.session.runner import Runner
path, threads, n, warm_up, reads_ahead = sys.argv[2], *map(int, sys.argv[3:7])
def counts():
    numbers = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return np.array([resource.getrusage(resource.RUSAGE_SELF).ru_majflt, int(numbers["read_bytes"])])
with sb.load(path, threads=threads) as model:
    tokens = np.random.default_rng(0).integers(0, model.config.n_vocab, n + warm_up)
    runner = Runner(model.plan, n_ctx=n + warm_up, n_threads=threads, isa=model.isa, reads_ahead=bool(reads_ahead))
    with sb.Session(runner, runner.new_sequence("f16")) as session:
        for i in range(warm_up):
            session.eval(tokens[i : i + 1])
        before, start = counts(), time.perf_counter()
        for i in range(warm_up, warm_up + n):
            session.eval(tokens[i : i + 1])
        seconds, (faults, n_bytes) = time.perf_counter() - start, counts() - before
print(json.dumps({"rate": n / seconds, "faults": faults / n, "n_bytes": n_bytes / n}))
"""


@dataclass(frozen=True)
class Run:
    """Tokens a second; for each token the page faults that waited for the disk, and bytes read from it."""

    rate: float
    faults: float
    n_bytes: float


Runs = Mapping[bool, Sequence[Run]]
"""By whether experts were read ahead."""


@contextmanager
def memory_group(limit: int, root: Path = CGROUPS) -> Iterator[Path]:
    """The folder of a control group whose processes have `limit` bytes. Raises OSError where none can be made."""
    version_1 = (root / "memory").is_dir()
    group = root / ("memory" if version_1 else "") / f"subbyte-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.limit_in_bytes" if version_1 else "memory.max")).write_text(str(limit))
        yield group
    finally:
        remove(group)


def remove(group: Path, seconds: float = 10) -> None:
    """Removes a control group, whose last process may take a while to give its memory back."""
    end = time.monotonic() + seconds
    while True:
        try:
            group.rmdir()
            return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


def leave_memory(path: Path) -> None:
    """Nothing of the file is in memory afterwards, unless a process has it mapped."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run_once(path: Path, group: Path, threads: int, n: int, warm_up: int, reads_ahead: bool) -> Run:
    """One run in a process of its own, in the group. Raises CalledProcessError."""
    leave_memory(path)
    facts = [str(group), str(path), str(threads), str(n), str(warm_up), str(int(reads_ahead))]
    done = subprocess.run([sys.executable, "-c", CHILD, *facts], check=True, stdout=subprocess.PIPE, text=True)
    return Run(**json.loads(done.stdout))


def take_turns(path: Path, group: Path, threads: int, n: int, warm_up: int, rounds: int) -> Runs:
    """Without and with, in turns."""
    runs: dict[bool, list[Run]] = {False: [], True: []}
    for i in range(rounds):
        for ahead in (False, True) if i % 2 == 0 else (True, False):
            runs[ahead].append(run_once(path, group, threads, n, warm_up, ahead))
            click.echo(f"read ahead: {'yes' if ahead else 'no'}: {runs[ahead][-1]}", err=True)
    return runs


def render(runs: Runs) -> str:
    """Markdown: a line without, a line with."""
    lines = ["| experts read ahead | tokens/s | faults a token | MB read a token |", "|---|---|---|---|"]
    for ahead, of in runs.items():
        rates = sorted(run.rate for run in of)
        lines.append(
            f"| {'yes' if ahead else 'no'} | {median(rates):.2f} [{rates[0]:.2f} .. {rates[-1]:.2f}] "
            f"| {median(run.faults for run in of):.1f} | {median(run.n_bytes for run in of) / 1e6:.1f} |"
        )
    return "\n".join(lines)


@click.command(help=__doc__)
@click.argument("model", required=False)
@click.option("--synthetic", metavar="SHAPE:TYPE[:LAYERS]")
@click.option("--limit", required=True, type=click.IntRange(1), metavar="MB", help="Memory of the control group.")
@click.option("--generation", default=24, type=click.IntRange(1), help="Tokens generated.")
@click.option("--warm-up", default=8, type=click.IntRange(0), help="Tokens generated before.")
@click.option("--rounds", default=2, type=click.IntRange(1))
@click.option("--threads", default=default_threads()[0], type=click.IntRange(1))
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Put the table into this document.")
def main(
    model: str | None, synthetic: str | None, limit: int, generation: int, warm_up: int, rounds: int, threads: int,
    write: Path | None,
) -> None:  # fmt: skip
    if (model is None) == (synthetic is None):
        raise click.UsageError("give either MODEL or --synthetic SHAPE:TYPE")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as with Ctrl-C, model and control group go
    try:
        with ExitStack() as stack:
            path = stack.enter_context(temporary(parse(synthetic))) if synthetic else resolve(str(model))
            group = stack.enter_context(memory_group(limit * 10**6))
            runs = take_turns(path, group, threads, generation, warm_up, rounds)
            n_bytes = path.stat().st_size
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise click.ClickException(str(error)) from None
    table = (
        f"{synthetic or path.name}, {n_bytes / 1e6:.0f} MB, in a group of {limit} MB; {cpu_name()}, {threads} threads, "
        f"{rounds} rounds, {date.today().isoformat()}:\n\n{render(runs)}"
    )
    click.echo(table)
    if write is not None:
        put_table(write, "paging", table)


if __name__ == "__main__":
    main()
