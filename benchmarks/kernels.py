"""Speed of the matrix kernels on one core: block type x instruction set x shape.

    python benchmarks/kernels.py [--formats Q4_K,IQ2_S] [--isas avx2] [--shapes 4096x4096,768x768] [--json FILE]

A product is computed as a step of one thread does it, for 1 token, a few (2, 4, 8) and a prompt (32, 128, 512); unpack
is the part of a prompt's product that turns blocks into codes and scales. One token is measured with weights in the
core's own cache and with weights from memory. Cycles are per 32 weights, GB/s of block bytes, GMAC/s of
multiply-adds; the shares are of reading memory, and of the multiply-adds of the instruction set, both on one core.

Times are processor time of one thread, which leaves out what other processes took; caches and memory they still
share. Every sample stands between two calibrations and is discarded where these disagree (calibrated.py).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import click
import numpy as np
from calibrated import Limit, measure, multiply_adds, read_bandwidth
from numpy.typing import NDArray
from tables.document import put_table
from tables.kernels_table import FEW, PROMPT, Result, table_head, table_row

from subbyte.kernels import FORMATS, _testing, isas
from subbyte.runtime.machine import cpu_name
from subbyte.runtime.synthetic.blocks import random_blocks

SHAPES = ("4096x4096", "14336x4096", "4096x14336", "1024x4096", "768x768")  # rows x row length
CACHED_BYTES = 400 << 10  # of weights: they fit a core's second-level cache
MEMORY_BYTES = 256 << 20  # more than any last-level cache
POOL_ROWS = 64  # of random blocks, repeated: speed does not depend on what blocks hold


@dataclass(frozen=True)
class Weights:
    """Rows of random blocks that give sane numbers."""

    format: str
    cols: int

    @property
    def row_bytes(self) -> int:
        return self.cols // FORMATS[self.format].block_size * FORMATS[self.format].block_bytes

    def rows(self, n: int) -> NDArray[np.uint8]:
        """n rows, flat."""
        n_blocks = self.cols // FORMATS[self.format].block_size * POOL_ROWS
        pool = random_blocks(self.format, n_blocks, self.cols**-0.5, np.random.default_rng(0))
        return np.resize(pool.reshape(-1), n * self.row_bytes)


@dataclass(frozen=True)
class Kernel:
    """run(repeat) does its work on the weights so often and returns its processor seconds."""

    name: str
    n_weights: int
    n_tokens: int
    run: Callable[[int], float]
    limit: Limit | None = None  # multiply-adds a second; for weights from memory, bytes


def kernels(isa: str, weights: Weights, rows: int) -> Iterator[Kernel]:
    name, cols = weights.format, weights.cols
    x = np.random.default_rng(1).standard_normal((PROMPT[-1], cols), np.float32)

    def product(kernel: str, n_rows: int, n_tokens: int, limit: Limit | None) -> Kernel:
        data = weights.rows(n_rows)

        def run(repeat: int) -> float:
            return _testing.time_product(isa, name, data, n_rows, x[:n_tokens], repeat)[0]

        return Kernel(kernel, n_rows * cols, n_tokens, run, limit)

    def unpack(repeat: int) -> float:
        return _testing.time_unpack(isa, name, few, few_rows, cols, repeat)

    few_rows = min(rows, max(8, CACHED_BYTES // weights.row_bytes // 8 * 8))
    few = weights.rows(few_rows)
    yield product("cached", few_rows, 1, None)
    yield product("memory", max(rows, MEMORY_BYTES // weights.row_bytes), 1, read_bandwidth)
    if FORMATS[name].group:
        yield Kernel("unpack", few_rows * cols, 1, unpack)
    for n_tokens in (*FEW, *PROMPT):
        yield product(str(n_tokens), rows, n_tokens, multiply_adds(isa, name))


def measure_kernel(kernel: Kernel, weights: Weights, isa: str, shape: str, n_samples: int) -> Result:
    n_bytes = kernel.n_weights * FORMATS[weights.format].bits_per_weight / 8
    n_products = kernel.n_weights * kernel.n_tokens
    speed = measure(kernel.run, n_bytes if kernel.name == "memory" else n_products, kernel.limit, n_samples)
    return Result(
        weights.format, isa, shape, kernel.name,
        cycles_per_32=None if speed.cycles is None else speed.cycles / kernel.n_weights * 32,
        gb_per_s=None if speed.seconds is None else n_bytes / speed.seconds / 1e9,
        gmac_per_s=None if speed.seconds is None else n_products / speed.seconds / 1e9,
        share=speed.share, kept=speed.kept, discarded=speed.discarded,
    )  # fmt: skip


def parse_shape(text: str) -> tuple[int, int]:
    rows, _, cols = text.partition("x")
    if not (rows.isdecimal() and cols.isdecimal() and int(rows) and int(cols)):
        raise click.BadParameter(f"shape {text!r}; a shape is ROWSxCOLUMNS, such as {SHAPES[0]}")
    return int(rows), int(cols)


def chosen(text: str, known: tuple[str, ...]) -> list[str]:
    if unknown := set(text.split(",")) - {*known}:
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; known are {', '.join(known)}")
    return text.split(",")


@click.command(help=__doc__)
@click.option("--formats", default=",".join(FORMATS), help="Comma-separated block types.")
@click.option("--isas", "isa_names", default=",".join(isas()[1:]) or "scalar", help="Comma-separated instruction sets.")
@click.option("--shapes", default=SHAPES[0], help=f"Comma-separated; all: {', '.join(SHAPES)}.")
@click.option("--samples", default=5, type=click.IntRange(1), help="Samples of each kernel.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write all results there.")
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Put the table into this document.")
def main(formats: str, isa_names: str, shapes: str, samples: int, json_path: Path | None, write: Path | None) -> None:
    names, sets = chosen(formats, tuple(FORMATS)), chosen(isa_names, tuple(isas()))
    results: list[Result] = []
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        click.echo(line)

    for shape in SHAPES if shapes == "all" else shapes.split(","):
        rows, cols = parse_shape(shape)
        say(f"{rows} rows of {cols}, one core of {cpu_name()}, {date.today()}:\n\n{table_head()}")
        for weights in (Weights(name, cols) for name in names if cols % FORMATS[name].block_size == 0):
            for isa in sets:
                found = [measure_kernel(k, weights, isa, shape, samples) for k in kernels(isa, weights, rows)]
                results += found
                say(table_row(found))
        say("")
    if json_path is not None:
        json_path.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    if write is not None:
        put_table(write, "kernels", "\n".join(lines).strip())


if __name__ == "__main__":
    main()
