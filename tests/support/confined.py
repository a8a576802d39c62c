"""Work in a forked process, with its processor time, its memory and the signal that ended it."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HANG = 30  # seconds of processor time after which the kernel ends the process
LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)  # which a fault may lower, softly
STUCK = 300  # seconds of waiting, whatever else the machine does, after which nothing happens any more


@dataclass(frozen=True)
class Outcome:
    """value: what the work returned. seconds: of processor time. peak: bytes that it took beyond those at its start."""

    value: Any
    seconds: float
    peak: int


def confined(work: Callable[[], Any]) -> Outcome:
    """Runs `work` in a forked process. Fails if a signal ends it, as when it hangs, or if it raises."""
    with tempfile.TemporaryFile() as answer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside other threads
            pid = os.fork()
        if pid == 0:
            _child(work, answer.fileno())
        status, usage = _wait(pid)
        answer.seek(0)
        data = answer.read()
    assert not os.WIFSIGNALED(status), f"ended by {signal.Signals(os.WTERMSIG(status)).name}"
    kind, value, peak = pickle.loads(data)
    assert kind == "value", value
    return Outcome(value, usage.ru_utime + usage.ru_stime, peak)


def run_command(*args: str, stdin: str = "", fault: Callable[[], object] = lambda: None) -> tuple[int, str, str]:
    """Runs a command line in this process, which must be a forked one; exit code, stdout, stderr.

    fault: what is done to the process right before, such as taking its memory or stdout away.
    """
    from subbyte.cli.main import run

    files = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    os.pwrite(files[0], stdin.encode(), 0)
    for number, file in enumerate(files):
        os.dup2(file, number)
    limits = [(what, resource.getrlimit(what)[0]) for what in LIMITS]
    fault()
    sys.stdin, sys.stdout, sys.stderr = (open(n, "rw"[n > 0], closefd=False) for n in range(3))
    try:
        code = run(args)
    finally:
        for what, soft in limits:
            resource.setrlimit(what, (soft, resource.getrlimit(what)[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = (os.pread(file, 1 << 24, 0).decode(errors="replace") for file in files[1:])
    return code, out, err


def _child(work: Callable[[], Any], answer: int) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (HANG, HANG))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = _peak()
        try:
            found: tuple[str, Any] = ("value", work())
        except BaseException:
            found = ("error", traceback.format_exc())
        os.write(answer, pickle.dumps((*found, _peak() - before)))
    finally:
        os._exit(0)


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _wait(pid: int) -> tuple[int, resource.struct_rusage]:
    deadline = time.monotonic() + STUCK
    while time.monotonic() < deadline:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return status, usage
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.wait4(pid, 0)
    raise AssertionError(f"still there after {STUCK} seconds")
