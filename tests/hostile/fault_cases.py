"""Command lines that make sense, while the machine gives out: little memory, full disks, streams that are gone.

Files are those of `command_cases`. Each fault is made in the process that runs the command, right before it.
"""

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from command_cases import DONE, RESOURCE, USAGE

PIPE_CLOSED = 141
Fault = Callable[[], object]


@dataclass(frozen=True)
class FaultCase:
    """codes: the exit codes that are right; several where it depends on the machine how far a command comes."""

    number: str
    what: str
    fault: Fault
    line: str
    codes: tuple[int, ...]
    says: str = ""


def _memory(mebibytes: int) -> Fault:
    """No more address space than so much above what is taken now."""

    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + (mebibytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))

    return limit


def _limited(what: int, limit: int) -> Fault:
    return lambda: resource.setrlimit(what, (limit, resource.getrlimit(what)[1]))


def _stdout(path: str) -> Fault:
    return lambda: os.dup2(os.open(path, os.O_WRONLY), 1)


def _no_reader() -> None:
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)


def _environment(**values: str | None) -> Fault:
    def change() -> None:
        for name, value in values.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    return change


def _ignored(number: signal.Signals) -> Fault:
    return lambda: signal.signal(number, signal.SIG_IGN)


GENERATE, CHAT = "generate MODEL -p the -n 3 -t 2", "chat MODEL -n 2 -c 256 -t 2"
PERPLEXITY = "perplexity MODEL -f TEXT -c 64 --chunks 2 -t 2"
QUANTIZE, IMATRIX = "quantize MODEL out.gguf Q8_0", "imatrix MODEL out.gguf -f TEXT -c 64 --chunks 2 -t 2"
COMPARE = "compare MODEL MODEL -f TEXT -c 64 --chunks 2 -t 2"
INSPECT, DIFF = "inspect MODEL", "diff MODEL MODEL"
EACH = (GENERATE, CHAT, PERPLEXITY, QUANTIZE, IMATRIX, COMPARE, INSPECT, DIFF, "ls")
NOWHERE = {
    "HOME": "/nowhere",
    "XDG_CACHE_HOME": "/dev/null/x",
    "XDG_DATA_HOME": "/dev/null/x",
    "HF_HOME": "/dev/null/x",
}
BARE = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "TERM", "LANG", "LC_ALL", "USER", "LOGNAME"))

ROWS: list[tuple[str, Fault, str, tuple[int, ...], str]] = [
    # Not less: where CPython itself is short of memory, it aborts at times.
    *[(f"{n} MiB more", _memory(n), line, (DONE, RESOURCE), "") for line in EACH for n in (64, 256)],
    *[("64 MiB more, 1 GB wanted", _memory(64), f"{line} -c 4000000", (RESOURCE,), "") for line in (GENERATE, CHAT)],
    ("64 MiB more, 1 GB wanted", _memory(64), "bench MODEL -p 8 -n 0 -d 4000000 -t 1", (RESOURCE,), ""),
    *[("a full disk for stdout", _stdout("/dev/full"), line, (RESOURCE,), "No space left")
      for line in (GENERATE, PERPLEXITY, COMPARE, INSPECT, DIFF, "ls")],
    *[("nobody reads stdout", _no_reader, line, (PIPE_CLOSED,), "")
      for line in (GENERATE, PERPLEXITY, COMPARE, INSPECT, "ls")],
    *[("files of 4 kB at most", _limited(resource.RLIMIT_FSIZE, 4096), line, (RESOURCE,), "")
      for line in (QUANTIZE, IMATRIX, f"{COMPARE} --save-base out.base", f"{PERPLEXITY} --resume out.run --chunks 12")],
    *[("16 open files", _limited(resource.RLIMIT_NOFILE, 16), line, (DONE, RESOURCE), "") for line in EACH],
    *[("5 open files", _limited(resource.RLIMIT_NOFILE, 5), line, (DONE, RESOURCE), "") for line in EACH],
    *[("folders that can't be", _environment(**NOWHERE), line, (DONE,), "") for line in (GENERATE, CHAT, "ls")],
    ("folders that can't be", _environment(**NOWHERE, SUBBYTE_CACHE="/dev/null/x"), "pull smollm2", (RESOURCE,), "/x"),
    ("folders that can't be", _environment(**NOWHERE), "generate hf:u/r -p x", (RESOURCE,), ""),
    *[("a bare environment", _environment(**BARE), line, (DONE,), "") for line in (GENERATE, CHAT, "ls")],
    *[("a terminal of one column", _environment(COLUMNS="1", LINES="1"), line, (DONE,), "")
      for line in (PERPLEXITY, COMPARE, INSPECT, "ls", "--help")],
    ("an instruction set that is none", _environment(SUBBYTE_ISA="mmx"), GENERATE, (USAGE,), "mmx"),
    ("no interpreter", _environment(SUBBYTE_PYTHON="/nowhere/python"), CHAT, (RESOURCE,), "/nowhere/python"),
    ("an interpreter that is none", _environment(SUBBYTE_PYTHON="/bin/false"), CHAT, (RESOURCE,), ""),
    ("256 threads", lambda: None, "generate MODEL -p the -n 3 -t 256", (DONE,), ""),
    ("a text that can't be read", lambda: None, "generate MODEL -f /proc/self/mem -n 1", (RESOURCE,), ""),
    ("a text without end", lambda: None, "perplexity MODEL -f /dev/zero -c 64 --chunks 1", (RESOURCE,), "/dev/zero"),
    ("a model that can't be read", lambda: None, "inspect /proc/self/mem", (3, RESOURCE), "/proc/self/mem"),
    ("a model that is a terminal", lambda: None, "inspect /dev/ptmx", (3, RESOURCE), "/dev/ptmx"),
    ("a recipe that is a device", lambda: None, "recipe show /dev/full", (USAGE,), "/dev/full"),
    ("a model through a file", lambda: None, "inspect MODEL/x", (RESOURCE,), "MODEL/x"),
    ("a path of 5000 characters", lambda: None, f"inspect {'x' * 5000}", (RESOURCE,), "too long"),
    ("an output through a file", lambda: None, "quantize MODEL TEXT/out.gguf Q8_0", (RESOURCE,), "TEXT"),
    ("an output nowhere", lambda: None, "quantize MODEL /nowhere/out.gguf Q8_0", (RESOURCE,), "/nowhere"),
    ("an output in /proc", lambda: None, "quantize MODEL /proc/out.gguf Q8_0", (RESOURCE,), "/proc"),
    ("no answer from children", _ignored(signal.SIGCHLD), CHAT, (DONE, RESOURCE), ""),
]  # fmt: skip

CASES = [FaultCase(f"Y{i:02}", *row) for i, row in enumerate(ROWS, 1)]
