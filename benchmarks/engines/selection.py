"""The engines that a benchmark compares: subbyte, and the peers named by --peer-python and --llama-bench."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import click
from tables.records import LLAMA_CPP, OURS, Setting

from engines.llama_bench import LlamaBench
from engines.turns import Worker

PAUSE = 0.05  # seconds between turns, for the threads of the one before to fall asleep


class Engine(Protocol):
    """What takes turns. about: its version. run: tokens/s of "prompt" or "generation"; raises EngineError."""

    name: str
    about: dict[str, str]

    def run(self, what: str) -> float: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Peer:
    """An engine that can be started. option: what names it on the command line, without the path."""

    name: str
    option: str
    start: Callable[[Path, Setting], Engine]


peer_python = click.option("--peer-python", metavar="PYTHON", help="llama.cpp as this Python imports it (llama_cpp).")
llama_bench = click.option(
    "--llama-bench", "programs", multiple=True, metavar="NAME=PATH",
    help="A peer's llama-bench: llama.cpp=PATH, ik_llama.cpp=PATH or another; as often as there are peers.",
)  # fmt: skip


def ours(model: Path, setting: Setting) -> Engine:
    """subbyte. Raises EngineError, as those below do, when the model is refused."""
    return _worker(OURS, sys.executable, "engines.subbyte_engine", model, setting)


def peers(python: str | None, programs: Sequence[str]) -> list[Peer]:
    """Those named by the two options. Raises ValueError for what names none."""
    found = []
    if python is not None:
        if shutil.which(python) is None:
            raise ValueError(f"--peer-python {python}: no such program; give a Python that imports llama_cpp")
        module = "engines.llama_cpp_engine"
        found.append(Peer(LLAMA_CPP, "--peer-python PYTHON", partial(_worker, LLAMA_CPP, python, module)))
    for text in programs:
        name, path = named_program(text)
        found.append(Peer(name, f"--llama-bench {name}=PATH", partial(_program, name, path)))
    names = [OURS, *(peer.name for peer in found)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two engines are called {min(twice)}; give each --llama-bench a name of its own")
    return found


def named_program(text: str) -> tuple[str, str]:
    """Name and path out of NAME=PATH."""
    name, equals, path = text.partition("=")
    if not (name and equals and path) or os.sep in name or "|" in name:
        raise ValueError(f"--llama-bench {text}: expected NAME=PATH, such as llama.cpp=/opt/llama.cpp/bin/llama-bench")
    if shutil.which(path) is None:
        raise ValueError(f"--llama-bench {text}: {path} is no program; give the path of a llama-bench that was built")
    return name, path


def shown_command(script: str, words: Sequence[str], threads: int, peers: Sequence[Peer]) -> str:
    """The command that measures this again, with PATH instead of the peers' paths. words: the script's own options."""
    limit = os.environ.get("SUBBYTE_ISA")
    python = f"SUBBYTE_ISA={limit} python" if limit else "python"
    return " ".join([python, f"benchmarks/{script}", *words, f"--threads {threads}", *(peer.option for peer in peers)])


def _worker(name: str, python: str, module: str, model: Path, setting: Setting) -> Worker:
    words = (model, setting.prompt, setting.generation, setting.threads)
    return Worker(name, [python, "-m", module, *map(str, words)])


def _program(name: str, path: str, model: Path, setting: Setting) -> LlamaBench:
    return LlamaBench(name, path, str(model), setting.prompt, setting.generation, setting.threads)
