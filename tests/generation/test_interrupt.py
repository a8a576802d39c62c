"""Signals and forks: an evaluation ends soon, its session stays whole, and a child process computes like its parent."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from tiny_models import N_VOCAB, write_model

import subbyte as sb
from subbyte.errors import SessionBusy

pytestmark = pytest.mark.thorough

LONG = [int(t) for t in np.random.default_rng(5).integers(0, N_VOCAB, 6000)]
PROMPT = LONG[:30]
SOON = 5.0  # seconds of processors: far more than the 50 ms between two polls, far less than LONG takes


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, context_length=8192)
    return path


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[sb.Model]:
    """Slow: the plain C kernels read LONG in many seconds."""
    with sb.load(path, threads=2, isa="scalar") as model:
        yield model


@contextmanager
def interrupted(after: float) -> Iterator[None]:
    """Sends this process SIGINT after so many seconds, and expects the KeyboardInterrupt soon after."""
    sent: list[float] = []

    def send() -> None:
        sent.append(time.process_time())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, send)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
        assert time.process_time() - sent[0] < SOON
    finally:
        timer.cancel()
        timer.join()


def expected(model: sb.Model, tokens: list[int]) -> np.ndarray:
    with model.session(len(tokens)) as session:
        return session.eval(tokens)


def test_a_prompt(model: sb.Model) -> None:
    with model.session(8192) as session:
        with interrupted(0.3):
            session.eval(LONG)
        assert session.n_past < len(LONG) and session.tokens == LONG[: session.n_past]
        session.rewind(0)
        assert np.array_equal(session.eval(PROMPT), expected(model, PROMPT))


def test_an_answer(model: sb.Model) -> None:
    with model.session(8192) as session:
        done = session.n_past

        def decode() -> None:
            nonlocal done
            while True:
                session.eval([1])
                done += 1

        with interrupted(0.3):
            decode()
        assert session.n_past in (done, done + 1)
        session.rewind(0)
        assert np.array_equal(session.eval(PROMPT), expected(model, PROMPT))


def test_a_chat_keeps_what_came(model: sb.Model) -> None:
    with model.chat(sampling=sb.Sampling(temperature=0), max_tokens=20, n_ctx=8192) as chat:
        with interrupted(0.3):
            chat.send("the thing " * 1900)
        with interrupted(0.3):
            while True:
                chat.send("the thing")
                chat.clear()
        chat.clear()
        assert chat.stream("hello").run().usage.prompt > 0


def test_a_perplexity(model: sb.Model) -> None:
    text = model.detokenize([t % 256 for t in LONG])
    with interrupted(0.3):
        sb.perplexity(model, text, n_ctx=2048)
    assert sb.perplexity(model, text, n_ctx=16, chunks=2).ppl > 1


def test_any_handler_may_end_a_step(model: sb.Model) -> None:
    def stop(_: int, __: FrameType | None) -> None:
        raise TimeoutError("enough")

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with model.session(8192) as session, pytest.raises(TimeoutError, match="enough"):
            session.eval(LONG)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_handler_can_not_run_a_model_meanwhile(model: sb.Model) -> None:
    """Its own session is in use; another one would wait for the step that waits for the handler.

    A signal may also strike between two steps, where another session has nobody to wait for: then the next is awaited.
    """
    with model.session(8192) as session, model.session(8) as other:
        seen: list[str] = []

        def enter(_: int, __: FrameType | None) -> None:
            with pytest.raises(SessionBusy, match="this session is in use"):
                session.eval([1])
            try:
                other.eval([1])
            except SessionBusy as busy:
                seen.append(str(busy))
                raise TimeoutError from None
            other.rewind(0)
            signal.setitimer(signal.ITIMER_REAL, 0.07)  # not before this one is over, however slow the machine

        before = signal.signal(signal.SIGALRM, enter)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(TimeoutError):
                session.eval(LONG)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert len(seen) == 1 and "a signal handler ran a model" in seen[0]
        assert other.n_past == 0
        other.eval([1])


class Struck(Exception):
    """What the signal handler raises; no OSError, which file checks answer."""


def test_random_shots(path: Path) -> None:
    """Wherever a signal strikes, the session stays whole and usable."""
    rng = random.Random(1)
    with sb.load(path, threads=2) as model, model.session(256) as session:
        reference = session.eval(PROMPT)

        def stop(_: int, __: FrameType | None) -> None:
            raise Struck

        before = signal.signal(signal.SIGALRM, stop)
        shots = 0
        try:
            for _ in range(500):
                try:
                    signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-4, 5e-3))
                    while True:
                        session.reuse(PROMPT[: rng.randrange(30)])
                        session.eval(LONG[: rng.randrange(1, 200)], rng.choice(["last", "all", "none"]))
                except Struck:
                    shots += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert shots == 500
        session.rewind(0)
        assert np.array_equal(session.eval(PROMPT), reference)


def test_loading_closes_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def strike(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("subbyte.runtime.opened_model.load_tokenizer", strike)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            sb.load(path)
    assert len(os.listdir("/proc/self/fd")) == before


# ---- the command line ----


@pytest.mark.parametrize("command", ["perplexity", "generate"])
def test_the_command_line_ends_with_130(command: str, path: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("the thing and another. " * 400)
    args = ["-c", "8192" if command == "generate" else "2048", "-f", str(text)]
    env = {**os.environ, "SUBBYTE_ISA": "scalar"}
    line = [sys.executable, "-c", "from subbyte.cli.entry import main; main()", command, str(path), *args]
    with subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_worker(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not [line for line in err.splitlines() if "warning" not in line] and "Traceback" not in out


def wait_for_worker(process: subprocess.Popen[str]) -> None:
    """Until the process computes, which is when it has threads of the pool; or until it ended."""
    while process.poll() is None:
        names = [read(task / "comm") for task in Path(f"/proc/{process.pid}/task").glob("*")]
        if any(name.startswith("subbyte-") for name in names):
            return
        time.sleep(0.02)


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the thread is gone
        return ""


# ---- other processes ----

FORK = """
import os, sys
import numpy as np
import subbyte as sb
with sb.load(sys.argv[1], threads=2) as model, model.session(64) as session:
    expected = session.eval(list(range(30)))
    for _ in range(5):
        pid = os.fork()
        if pid == 0:
            session.rewind(0)
            same = np.array_equal(session.eval(list(range(30))), expected)
            with model.session(64) as other:
                same = same and np.array_equal(other.eval(list(range(30))), expected)
            os._exit(0 if same else 1)
        assert os.waitpid(pid, 0)[1] == 0
        session.rewind(0)
        assert np.array_equal(session.eval(list(range(30))), expected)
"""


def test_a_forked_child_computes_the_same(path: Path) -> None:
    line = [sys.executable, "-W", "ignore", "-c", FORK, str(path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


SPAWN = """
import multiprocessing, sys
import numpy as np
import subbyte as sb
def logits_of(path):
    with sb.load(path, threads=2) as model, model.session(64) as session:
        return session.eval(list(range(30)))
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(logits_of, [sys.argv[1]] * 2)
    assert all(np.array_equal(result, logits_of(sys.argv[1])) for result in results)
"""


def test_a_spawned_child_computes_the_same(path: Path, tmp_path: Path) -> None:
    """Its own script: a child imports the file that its function stands in, and a test's file it might not find."""
    (tmp_path / "spawn.py").write_text(SPAWN)
    line = [sys.executable, "-W", "ignore", str(tmp_path / "spawn.py"), str(path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
