"""A llama-bench program, llama.cpp's or ik_llama.cpp's, as an engine that takes turns: each turn is a run of it."""

import json
import subprocess
from dataclasses import dataclass, field
from typing import Any

from engines.turns import EngineError


def parse(text: str) -> list[dict[str, Any]]:
    """The tests in llama-bench's -o json output, whatever else it printed around them. Raises ValueError."""
    tests = json.loads(text[text.find("[") : text.rfind("]") + 1])
    if not isinstance(tests, list) or not all(isinstance(test, dict) and "avg_ts" in test for test in tests):
        raise ValueError("no list of tests with avg_ts")
    return tests


@dataclass
class LlamaBench:
    """llama-bench of the file `path`, with its own warm-up and its own defaults, such as flash attention's."""

    name: str
    program: str
    path: str
    prompt: int
    generation: int
    threads: int
    timeout: float = 300
    about: dict[str, str] = field(default_factory=dict)

    def run(self, what: str) -> float:
        """Tokens/s of "prompt" or "generation". Raises EngineError."""
        sizes = {"prompt": (self.prompt, 0), "generation": (0, self.generation)}[what]
        options = {"-m": self.path, "-p": sizes[0], "-n": sizes[1], "-t": self.threads, "-b": 512, "-ub": 512, "-r": 1}
        command = [self.program, *(str(word) for option in options.items() for word in option), "-o", "json"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineError(f"{self.name}, asked for {what!r}: {error}") from None
        try:
            (test,) = parse(done.stdout)
        except ValueError as error:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            how = f"ended with status {done.returncode} and no result ({error}): {last}"
            raise EngineError(f"{self.name}, asked for {what!r}, {how}") from None
        self.about = {"version": f"{self.name} {test.get('build_commit', 'of unknown commit')}"}
        return float(test["avg_ts"])

    def close(self) -> None:
        """Nothing runs between turns."""
