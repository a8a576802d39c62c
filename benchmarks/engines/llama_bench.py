"""A llama-bench program, llama.cpp's or ik_llama.cpp's, as an engine that takes turns: each turn is a run of it.

Loading the model is outside what llama-bench times. So is its warm-up; ik_llama.cpp's is of one token, which leaves the
first prompt to touch the memory it works in, so prompts have two repetitions and the second counts.
"""

import json
import re
import subprocess
from contextlib import suppress
from typing import Any

from engines.turns import EngineError


def parse(text: str) -> dict[str, Any]:
    """The only test in llama-bench's -o json output, whatever libraries printed before it. Raises ValueError."""
    tests: list[dict[str, Any]] = []
    for words in re.findall(r"\{[^{}]*\}", text):  # a test has no objects inside
        with suppress(ValueError):
            tests.append(json.loads(words))
    tests = [test for test in tests if test.get("samples_ts")]
    if len(tests) != 1:
        raise ValueError(f"{len(tests)} tests with samples_ts in its output, not 1")
    return tests[0]


class LlamaBench:
    """llama-bench of the file `path`, with its own defaults, such as flash attention's.

    Raises EngineError when it cannot generate a token with the model.
    """

    def __init__(
        self, name: str, program: str, path: str, prompt: int, generation: int, threads: int, timeout: float = 300
    ) -> None:
        self.name, self.timeout = name, timeout
        self._program, self._path, self._threads = program, path, threads
        self._sizes = {"prompt": (prompt, 0), "generation": (0, generation)}
        commit = self._test("start", 0, 1).get("build_commit", "of unknown commit")
        self.about = {"version": f"{name} {commit}"}

    def run(self, what: str) -> float:
        """Tokens/s of "prompt" or "generation". Raises EngineError."""
        return float(self._test(what, *self._sizes[what])["samples_ts"][-1])

    def close(self) -> None:
        """Nothing runs between turns."""

    def _test(self, what: str, prompt: int, generation: int) -> dict[str, Any]:
        repetitions = 2 if prompt else 1
        sizes = {"-p": prompt, "-n": generation, "-t": self._threads, "-b": 512, "-ub": 512, "-r": repetitions}
        words = [str(word) for size in sizes.items() for word in size]
        command = [self._program, "-m", self._path, *words, "-o", "json"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineError(f"{self.name}, asked for {what!r}: {error}") from None
        try:
            return parse(done.stdout)
        except ValueError as error:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            how = f"ended with status {done.returncode} and no result ({error}): {last}"
            raise EngineError(f"{self.name}, asked for {what!r}, {how}") from None
