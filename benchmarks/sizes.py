"""Models of real size: how long they take to load, how fast they are, and how much memory they take.

    python benchmarks/sizes.py [SHAPE:TYPE[:LAYERS] ...] [--keep FOLDER] [--threads N] [--write docs/sizes.md]

Random models in the shapes and mixtures of real ones (`subbyte bench --synthetic`) are written one after another into
the temporary folder ($TMPDIR; /dev/shm where the disk is slow and memory plenty), measured in a process of their own
and deleted. Without names it is EXAONE-Deep-7.8B, Llama-3-8B, Qwen3-14B and Nemotron-Super-49B, which takes 14 GB. With
--keep they stay in FOLDER, and those that are there are not written again.

Load is from the start of the process to a session of 4096 tokens, the file in the page cache as it was written. Peak is
all memory of the process, pages of the mapped file included; what is not the file may be the KV cache and 150 MB.
"""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import click
from engines.turns import EngineError, Worker
from tables.document import put_table

from subbyte.errors import ResourceError
from subbyte.runtime.machine import available_memory, cpu_name, default_threads
from subbyte.runtime.synthetic import write as synthetic

MODELS = (
    "exaone-7.8b:card-q4_k", "exaone-7.8b:DynamicGate-IQ2_XXS", "llama-3-8b:card-q8_0", "llama-3-8b:card-iq3_m",
    "qwen3-14b:card-q4_k", "qwen3-14b:card-iq3_xs", "nemotron-49b:DynamicGate-IQ1_S",
)  # fmt: skip
N_CTX = 4096
MAX_LOAD = 2.0  # seconds
ALLOWED = 150e6  # bytes beside the file and the KV cache
TIMEOUT = 600  # seconds for any one figure


@dataclass(frozen=True)
class Measured:
    """Sizes in bytes, load in seconds, prompt and generation in tokens a second; mapped is the file's part of peak."""

    model: str
    architecture: str
    file: float
    cache: float
    load: float
    prompt: float
    generation: float
    peak: float
    mapped: float

    @property
    def misses(self) -> list[str]:
        """Which bounds are broken. What is not the file's counts, however little of the file was read."""
        found = ["load"] if self.load > MAX_LOAD else []
        return found + (["memory"] if self.peak - self.mapped > self.cache + ALLOWED else [])


@contextmanager
def file_of(label: str, keep: Path | None) -> Iterator[Path]:
    """The random model, as a file that goes unless it is to be kept. Raises ResourceError where it does not fit."""
    model = synthetic.parse(label)
    kept = None if keep is None else keep / f"{label.replace(':', '-')}.gguf"
    need, free = model.n_bytes(), available_memory()
    if need > free:
        found = f"{label} needs {need / 1e9:.1f} GB of memory to be read from it, {free / 1e9:.1f} GB are free"
        raise ResourceError(f"{found}; take fewer layers or another mixture")
    if kept is None:
        tell(f"{label}: writing {need / 1e9:.1f} GB")
        with synthetic.temporary(model) as path:
            yield path
        return
    if not kept.exists():
        tell(f"{kept}: writing {need / 1e9:.1f} GB")
        synthetic.write(model, kept)
    yield kept


def tell(what: str) -> None:
    """Progress, beside the table on stdout."""
    click.echo(what, err=True)


def measure(label: str, path: Path, threads: int) -> Measured:
    """Raises EngineError when the model is refused or fails."""
    tell(f"{label}: loading, 512 tokens of prompt, 64 generated")
    begin = time.perf_counter()
    command = [sys.executable, "-m", "engines.sizes_engine", str(path), str(N_CTX), str(threads)]
    engine = Worker("subbyte", command, TIMEOUT)
    load = time.perf_counter() - begin
    try:
        engine.run("warm-up")
        numbers = {what: engine.run(what) for what in ("prompt", "generation", "file", "cache", "peak", "mapped")}
    finally:
        engine.close()
    return Measured(model=label, architecture=engine.about["architecture"], load=load, **numbers)


def summary(m: Measured) -> str:
    """A line for people who wait."""
    verdict = f"; missed: {', '.join(m.misses)}" if m.misses else ""
    return (
        f"{m.model}: load {m.load:.2f} s, prompt {m.prompt:.1f}, generation {m.generation:.2f} tokens/s, "
        f"peak {m.peak / 1e6:.0f} MB, {(m.peak - m.mapped) / 1e6:.0f} of it not the file{verdict}"
    )


def render(rows: Sequence[Measured], threads: int, day: str) -> str:
    """Markdown: the machine, then a line for every model."""
    lines = [
        f"{cpu_name()}, {threads} threads, {day}; KV cache of {N_CTX} tokens in f16; MB, seconds, tokens/s:",
        "",
        "| model | architecture | file | KV cache | load, s | pp512 | tg64 | peak | not the file | bounds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {m.model} | {m.architecture} | {m.file / 1e6:.0f} | {m.cache / 1e6:.0f} | {m.load:.2f} | {m.prompt:.1f} "
        f"| {m.generation:.2f} | {m.peak / 1e6:.0f} | {(m.peak - m.mapped) / 1e6:.0f} "
        f"| {'missed: ' + ', '.join(m.misses) if m.misses else 'kept'} |"
        for m in rows
    ]
    return "\n".join(lines)


@click.command(help=__doc__)
@click.argument("models", nargs=-1)
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="FOLDER")
@click.option("--threads", default=default_threads()[0], type=click.IntRange(1))
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Put the table into this document.")
def main(models: Sequence[str], keep: Path | None, threads: int, write: Path | None) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as with Ctrl-C, temporary models go
    rows = []
    for label in models or MODELS:
        try:
            with file_of(label, keep) as path:
                rows.append(measure(label, path, threads))
        except (EngineError, ResourceError, ValueError) as error:
            raise click.ClickException(str(error)) from None
        tell(summary(rows[-1]))
    table = render(rows, threads, date.today().isoformat())
    click.echo(table)
    if write is not None:
        put_table(write, "sizes", table)
    sys.exit(1 if any(m.misses for m in rows) else 0)


if __name__ == "__main__":
    main()
