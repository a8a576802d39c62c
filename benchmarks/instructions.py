"""Instructions of the dot products of quantized rows, counted in compiled code: per 256 weights, for 1 to 4 tokens.

    python benchmarks/instructions.py build/cp311/kernels/cpu/libsubbyte_avx2.a.p/avx2_dot.c.o
    python benchmarks/instructions.py neon_dot.c.o --objdump aarch64-linux-gnu-objdump

Counted are the instructions of the innermost loop over blocks, which takes 256 weights (blocks of 32 on ARM: 128, here
twice as many); its products tell for how many tokens it is. What a type does elsewhere (joining eight rows, the last
blocks of a row) is a few percent. A dash: no such loop was found. A count is no time, but unlike a time it is the same
on every machine, and of processors that are not at hand it is what can be known.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from tables.peers_table import head, line

from subbyte.kernels import FORMATS

MOST_TOKENS = 4
# Instructions that multiply bytes, and how many weights one of them, or one of the pairs that it is half of, takes.
PRODUCTS = {"vpmaddubsw": 32, "vpdpbusd": 32, "sdot": 16, "smull": 16}
ON_ARM = ("sdot", "smull")
BRANCH = re.compile(r"(?:j\w+|b|b\.\w+|cbn?z|tbn?z)\s.*?\b([0-9a-f]+) <")

Code = list[tuple[str, str]]  # address and instruction with its operands, in order


def functions(listing: str) -> Iterator[tuple[str, Code]]:
    """Name and instructions of every function in what objdump -d writes."""
    for match in re.finditer(r"<([\w.]+)>:\n((?:.+\n?)+)", listing):
        lines = (text.strip().split("\t", 1) for text in match[2].splitlines())
        yield match[1], [(parts[0].rstrip(":"), parts[1].replace("\t", " ")) for parts in lines if len(parts) == 2]


def innermost_loops(code: Code) -> list[Code]:
    """What lies between a branch back and where it goes, if no other such pair lies within."""
    at = {address: i for i, (address, _) in enumerate(code)}
    loops = set()
    for i, (_, text) in enumerate(code):
        branch = BRANCH.match(text)
        if branch and at.get(branch[1], i + 1) <= i:
            loops.add((at[branch[1]], i))
    inner = [(a, b) for a, b in loops if not any((c, d) != (a, b) and a <= c and d <= b for c, d in loops)]
    return [code[a : b + 1] for a, b in sorted(inner)]


def tokens_and_instructions(loop: Code, block: int) -> tuple[int, int] | None:
    """For how many tokens the loop multiplies blocks of that many weights, and its instructions for 256 of these; None
    if it does something else."""
    names = [text.split()[0] for _, text in loop]
    for name, at_once in PRODUCTS.items():
        weights = 128 if name in ON_ARM and block == 32 else 256
        n, rest = divmod(names.count(name) * at_once, weights)
        if n and not rest and n <= MOST_TOKENS:
            return n, len(loop) * 256 // weights
    return None


def count(listing: str) -> dict[str, Mapping[int, int]]:
    """Instructions by block type and number of tokens."""
    found: dict[str, dict[int, int]] = {}
    for function, code in functions(listing):
        name = function.split(".")[0].removeprefix("dot_")
        if name in FORMATS and function.startswith("dot_"):
            loops = [tokens_and_instructions(loop, FORMATS[name].block_size) for loop in innermost_loops(code)]
            found.setdefault(name, {}).update(dict(filter(None, loops)))
    return {name: found[name] for name in FORMATS if found.get(name)}


def table(counts: Mapping[str, Mapping[int, int]]) -> str:
    numbers = range(1, MOST_TOKENS + 1)
    rows = [line([name, *(str(of.get(n, "-")) for n in numbers)]) for name, of in counts.items()]
    return "\n".join([head(["type", "1 token", *(f"{n} tokens" for n in numbers[1:])]), *rows])


@click.command(help=__doc__)
@click.argument("objects", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--objdump", default="objdump", help="That of the objects' processor.")
def main(objects: tuple[Path, ...], objdump: str) -> None:
    for path in objects:
        try:
            command = [objdump, "-d", "--no-show-raw-insn", str(path)]
            listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            raise click.ClickException(f"{path}: {objdump} does not read it ({error})") from None
        counts = count(listing)
        if not counts:
            raise click.ClickException(f"{path}: no dot product in it; expected the object file of a dot.c")
        click.echo(f"{path.name}\n\n{table(counts)}\n")


if __name__ == "__main__":
    main()
