"""The names of the package: the stub that type checkers read and the table that imports them say the same."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

import subbyte


def test_the_stub_has_the_names_and_where_they_are_from() -> None:
    imports = [node for node in ast.parse((ROOT / "__init__.pyi").read_text()).body if isinstance(node, ast.ImportFrom)]
    stub = {alias.name: str(node.module) for node in imports for alias in node.names}
    assert all(alias.asname == alias.name for node in imports for alias in node.names)  # else it is not re-exported
    assert stub == {name: f"subbyte.{module}" for name, module in subbyte._HOME.items()}  # type: ignore[attr-defined]
    assert sorted(stub) == sorted(subbyte.__all__)  # type: ignore[attr-defined]


USE = """\
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
import subbyte as sb

@dataclass
class City:
    name: str

def show(usage: sb.Usage, timings: sb.Timings, why: sb.StopReason) -> str:
    return f"{usage.prompt} {timings.prefill} {why}"

reply = sb.load("smollm2").generate("a", sampling=sb.Sampling(temperature=0)).run()
print(show(reply.usage, reply.timings, reply.stop_reason))
chat = sb.load("smollm2").chat()
print(chat.object("a", City).name, chat.object("a", list[City])[0].name, chat.object("a", {"type": "string"}))
print(chat.object("a", City).nmae)  # typo
print(chat.object("a", 3))  # typo
chat.send("a", constraint="yes|no")  # typo
print(sb.perplexty)  # typo
print(sb.Samplng)  # typo
print(reply.usage.promt)  # typo
sb.load("smollm2").chat(samplng=None)  # typo
sb.load("smollm2").generate("a", max_tokens="3")  # typo

model = sb.load("smollm2")
total: float = model.score("a").total
totals: list[float] = [score.total for score in model.score("a", ["b", b"c", [1]])]
choice: sb.Choice = model.choose([1, 2], ["b"], normalize="bytes")
length: int = model.embed(["a"], pooling="cls", normalize=False).shape[0]
def ban(logits: NDArray[np.float32], tokens: Sequence[int]) -> None: ...
def wrong(logits: str) -> None: ...
answer = model.generate("a", logprobs=2, processors=[ban], sampling=sb.Sampling(banned=["b"])).run()
tops: list[tuple[bytes, float]] = [(top.piece, top.logprob) for token in answer.logprobs for top in token.top]
with model.chat(logprobs=0, processors=[ban]) as chat:
    found = [event.logprob for event in chat.stream("a") if isinstance(event, sb.TokenLogprob)]
model.generate("a", logprobs="2")  # typo
model.generate("a", processors=[wrong])  # typo
model.chat(processors=ban)  # typo
sb.Sampling(banned=[1])  # typo
print(answer.logprobs[0].tops)  # typo
print(model.score("a", ["b"]).total)  # typo
model.score("a", [1.5])  # typo
model.choose("a", ["b"], normalize="chars")  # typo
print(choice.best)  # typo
model.embed("a", pooling="max")  # typo
model.embed([3])  # typo
"""


@pytest.mark.thorough
@pytest.mark.slow
def test_a_type_checker_finds_typos(tmp_path: Path) -> None:
    """Names that are none must not pass as `object` or `Any`, and right ones must pass."""
    (tmp_path / "use.py").write_text(USE)
    options = ["--strict", "--no-error-summary", "--hide-error-context", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", os.devnull, *options, "use.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(ROOT / ".types")}, capture_output=True, text=True,
    )  # fmt: skip
    found = {
        int(line.split(":")[1]) for line in done.stdout.splitlines() if line.startswith("use.py:") and "error" in line
    }
    typos = {i for i, line in enumerate(USE.splitlines(), 1) if line.endswith("# typo")}
    assert found == typos, done.stdout + done.stderr


def test_the_package_gives_types_to_checkers_that_read_it_without_the_stub() -> None:
    """`__getattr__` is hidden from them: they take whatever it returns for every name."""
    (hidden,) = [
        node for node in ast.parse((ROOT / "__init__.py").read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "not TYPE_CHECKING"
    ]  # fmt: skip
    assert [node.name for node in hidden.body if isinstance(node, ast.FunctionDef)] == ["__getattr__"]
