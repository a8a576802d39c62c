"""benchmarks/busy.py: busy loops end when they should, engines take turns beside them, shares are of the quiet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import busy
import pytest
from busy import busy_loops, parse_loops, table
from click.testing import CliRunner
from engines import selection
from logged_engine import LoggedEngine


def runs(pid: int) -> bool:
    """Whether there is such a process; one that ended and was not waited for is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid: int) -> bool:
    """Waits for it, a minute at most."""
    deadline = time.monotonic() + 60
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not runs(pid)


def test_busy_loops_end_with_their_block() -> None:
    with pytest.raises(KeyboardInterrupt), busy_loops(2) as pids:
        assert len(set(pids)) == 2 and all(map(runs, pids))
        raise KeyboardInterrupt
    assert not any(map(runs, pids))


@pytest.mark.thorough
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_busy_loops_end_with_a_command_that_is_ended(how: signal.Signals) -> None:
    folder = str(Path(busy.__file__).parent)
    code = f"""
import signal, sys, time
sys.path.insert(0, {folder!r})
from busy import busy_loops
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with busy_loops(2) as pids:
    print(*pids, flush=True)
    time.sleep(600)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        os.kill(parent.pid, how)
    assert all(map(ends, pids))


def test_engines_take_turns_beside_every_number_of_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    @contextmanager
    def noted(n: int) -> Iterator[list[int]]:
        log.append(f"{n} loops")
        yield []

    monkeypatch.setattr(selection, "PAUSE", 0)
    monkeypatch.setattr(busy, "busy_loops", noted)
    rates = busy.take_turns([LoggedEngine("a", log), LoggedEngine("b", log)], [0, 2], 2)
    forth, back = ["a generation", "b generation"], ["b generation", "a generation"]
    assert log == ["0 loops", *forth, "2 loops", *forth, "2 loops", *back, "0 loops", *back]
    assert rates == {"a": {0: [1, 4], 2: [2, 3]}, "b": {0: [1, 4], 2: [2, 3]}}


def test_shares_are_of_the_quiet_of_the_same_round() -> None:
    rates = {"subbyte": {0: [100, 50, 100], 1: [80, 50, 60], 2: [50, 20, 50]}, "llama.cpp": {0: [60], 1: [6], 2: [3]}}
    assert table(rates).splitlines() == [
        "| engine | quiet | 1 busy loop | of quiet | 2 busy loops | of quiet |",
        "|---|---|---|---|---|---|",
        "| subbyte | 100.0 | 60.0 | 0.80 [0.60 .. 1.00] | 50.0 | 0.50 [0.40 .. 0.50] |",
        "| llama.cpp | 60.0 | 6.0 | 0.10 [0.10 .. 0.10] | 3.0 | 0.05 [0.05 .. 0.05] |",
    ]


def test_the_quiet_is_always_measured() -> None:
    assert parse_loops("1,2") == [0, 1, 2] and parse_loops("4,1,4") == [0, 1, 4]


@pytest.mark.parametrize("text", ["", "0", "1,", "-1", "two", "1;2"])
def test_other_numbers_of_loops_are_refused_in_one_line(text: str, tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.touch()
    result = CliRunner().invoke(busy.main, [str(model), f"--loops={text}"])
    expected = f"Error: --loops {text}: expected numbers of busy loops from 1 up, such as 1,2\n"
    assert (result.exit_code, result.stderr) == (1, expected)
