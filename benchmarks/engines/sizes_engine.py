"""subbyte as sizes.py asks for it (turns.py): a model and a session are there when it answers first."""

import sys
from functools import partial
from pathlib import Path

import subbyte as sb
from engines.subbyte_engine import tokens_per_second
from engines.turns import About, Measurements, serve


def start(path: str, n_ctx: int, threads: int) -> tuple[About, Measurements]:
    model = sb.load(path, threads=threads)
    session = model.session(n_ctx)

    rate = partial(tokens_per_second, session)
    return {"architecture": model.info.architecture, "isa": model.isa}, {
        "warm-up": lambda: rate(2, 1),
        "prompt": lambda: rate(512, 512),
        "generation": lambda: rate(64, 1),
        "file": lambda: model.info.size,
        "cache": lambda: model.plan.cache_bytes(n_ctx, "f16"),
        "peak": peak_memory,
        "mapped": lambda: resident(Path(path)),
    }


def peak_memory() -> int:
    """Bytes that this process has had in memory at most, pages of mapped files included."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def resident(path: Path) -> int:
    """Bytes of a mapped file that are in this process's memory now."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *values = line.split()
        if not name.endswith(":"):  # a new mapping: addresses, rights, offset, device, inode and path
            inside = line.endswith(str(path))
        elif inside and name == "Rss:":
            total += 1024 * int(values[0])
    return total


if __name__ == "__main__":
    serve(lambda: start(sys.argv[1], *map(int, sys.argv[2:4])))
