"""A long life in one process, in short rounds: python tests/support/soak.py [--minutes 60] [--isa ISA].

Each round loads models, chats, generates in threads, measures, is interrupted and meets a broken file. What it computes
must be what the first round computed, and memory, threads, files and child processes must not grow.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tiny_models import write_model

import subbyte as sb

WARM_UP = 10  # rounds that fill caches
GROWTH = 16 << 20  # bytes of resident memory that the allocator may keep beyond those after the warm-up
ARCHITECTURES = ("llama", "gemma3", "phi3", "deci")
GREEDY = sb.Sampling(temperature=0)
TEXT = "the thing and the other thing " * 20


class Held(NamedTuple):
    """What the process holds: resident bytes, threads, open files, children."""

    memory: int
    threads: int
    files: int
    children: int

    @staticmethod
    def now() -> Held:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        tasks = Path("/proc/self/task")
        children = sum(len((task / "children").read_text().split()) for task in tasks.iterdir())
        files = len(os.listdir("/proc/self/fd"))
        return Held(int(status["VmRSS"].split()[0]) << 10, int(status["Threads"]), files, children)


def one_round(path: Path, isa: str | None) -> dict[str, Any]:
    """Everything once, on one model; the results by name, which are the same in every round."""
    with sb.load(path, threads=2, isa=isa) as model:
        found: dict[str, Any] = {"perplexity": sb.perplexity([model], TEXT, n_ctx=32).results[0].ppl}
        with ThreadPoolExecutor(4) as pool:
            found["threads"] = list(pool.map(lambda _: _generate(model), range(4)))
        _leave(model)
        with model.chat(sampling=GREEDY, n_ctx=256, max_tokens=8) as chat:
            found["chat"] = [chat.send(f"say {word}").text for word in ("one", "two")]
            _interrupt(chat)
            chat.clear()
            found["after an interrupt"] = chat.send("say one").text
        found["after all"] = _generate(model)
    _break(path)
    return found


def _generate(model: sb.Model) -> str:
    with model.generate("the thing", sampling=GREEDY, max_tokens=16) as answer:
        return answer.run().text


def _leave(model: sb.Model) -> None:
    """A generation that nobody finishes."""
    for _ in model.generate("the thing", sampling=sb.Sampling(seed=1), max_tokens=64):
        break


def _interrupt(chat: sb.Chat) -> None:
    """Ctrl-C in an answer."""
    try:
        for i, _ in enumerate(chat.stream("go on")):
            if i == 1:
                signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        pass


def _break(path: Path) -> None:
    """A file that ends too early."""
    cut = path.with_suffix(".cut")
    cut.write_bytes(path.read_bytes()[:-64])
    try:
        sb.load(cut).close()
    except sb.SubbyteError:
        return
    raise AssertionError("a file that ends too early was loaded")


def soak(folder: Path, *, minutes: float, isa: str | None = None) -> Iterator[Held]:
    """Rounds for so long, one after the warm-up at least; what was held after each. Raises AssertionError."""
    paths = [folder / f"{arch}.gguf" for arch in ARCHITECTURES]
    for path in paths:
        write_model(path, path.stem)
    expected = [one_round(path, isa) for path in paths]
    end, n, first = time.monotonic() + 60 * minutes, 0, Held.now()
    while n <= WARM_UP or time.monotonic() < end:
        found = [one_round(path, isa) for path in paths]
        np.testing.assert_equal(found, expected)
        held, n = Held.now(), n + 1
        if n <= WARM_UP:
            first = held
        assert held.memory <= first.memory + GROWTH and held[1:] <= first[1:], f"round {n}: {first} became {held}"
        yield held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--isa", help="an instruction set; default: the best one")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        for n, held in enumerate(soak(Path(folder), minutes=arguments.minutes, isa=arguments.isa), 1):
            if n % 10 == 0:
                memory = f"{held.memory / 2**20:.1f} MiB"
                print(f"{n} rounds: {memory}, {held.threads} threads, {held.files} files, {held.children} children",
                      file=sys.stderr)  # fmt: skip


if __name__ == "__main__":
    main()
