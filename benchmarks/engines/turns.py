"""Engines in processes of their own that take turns: the line protocol between them and the benchmark, both its ends.

An engine first says one line of JSON about itself. Then it answers each line, the name of a measurement, with one
line: a number, or "error " and a reason. It ends when its input does. Nothing but the standard library is imported,
since engines run in other Pythons than the benchmark.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

About = Mapping[str, str]
Measurements = Mapping[str, Callable[[], float]]

BENCHMARKS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class EngineError(Exception):
    """An engine did not start, or did not answer with a number."""


def serve(start: Callable[[], tuple[About, Measurements]]) -> None:
    """The engine's end: start() loads the model and returns what the engine is and the measurements it offers."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    try:
        about, measurements = start()
        print(json.dumps(about), file=answers)
        for line in sys.stdin:
            print(repr(float(measurements[line.strip()]())), file=answers)
    except Exception as error:
        print(f"error {type(error).__name__}: {error}".replace("\n", " "), file=answers)
        sys.exit(1)


def _environment() -> dict[str, str]:
    """That of this process, in which `python -m engines.…` finds this folder, in other Pythons too."""
    path = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join([BENCHMARKS, path] if path else [BENCHMARKS])}


class Worker:
    """The benchmark's end: a process that serves. One that says nothing for `timeout` seconds is killed."""

    def __init__(self, name: str, command: Sequence[str], timeout: float = 300) -> None:
        self.name, self.timeout = name, timeout
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=_environment()
        )
        try:
            self.about: dict[str, str] = json.loads(self._answer("start"))
        except ValueError as error:
            self.close()
            raise EngineError(f"{name} began with something else than a line of JSON: {error}") from None
        except BaseException:
            self.close()
            raise

    def run(self, what: str) -> float:
        """The number this engine answers to `what`. Raises EngineError."""
        assert self._process.stdin
        with suppress(OSError):  # it has ended: what it said last, or its exit status, tells why
            print(what, file=self._process.stdin)
        answer = self._answer(what)
        try:
            return float(answer)
        except ValueError:
            self.close()
            raise EngineError(f"{self.name} answered {what!r} with {answer!r} instead of a number") from None

    def close(self) -> None:
        """Ends the process. Closing twice is no error."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            with suppress(OSError):  # a line it did not live to read
                pipe.close()

    def _answer(self, what: str) -> str:
        assert self._process.stdout
        silent = threading.Event()

        def give_up() -> None:
            silent.set()
            self._process.kill()

        watchdog = threading.Timer(self.timeout, give_up)
        watchdog.start()
        line = self._process.stdout.readline().strip()
        watchdog.cancel()
        if line and not line.startswith("error "):
            return line
        reason = line.removeprefix("error ") or "it closed its output"
        if silent.is_set():
            reason = f"it said nothing for {self.timeout} s"
        elif not line:
            with suppress(subprocess.TimeoutExpired):
                reason = f"it ended with status {self._process.wait(5)}"
        self.close()
        raise EngineError(f"{self.name}, asked for {what!r}: {reason}")
