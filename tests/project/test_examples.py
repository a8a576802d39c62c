"""The scripts in examples/, each run as its docstring says, on tiny models; those that need other packages are in
tests/clients/."""

import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from tiny_models import LLAMA, write_model

EXAMPLES = ROOT / "examples"
SHAPE = {**LLAMA, "n_embd": 256, "head_dim": 64, "n_ff": 512}  # rows that blocks of 256 weights fill
TEXT = "the tin and the can are on the lane, and in the other an inn then rings the one horn. " * 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    write_model(folder / "f32.gguf", shape=SHAPE)
    write_model(folder / "q8_0.gguf", shape=SHAPE, types=["Q8_0"])
    (folder / "text").write_text(TEXT)
    return folder


def run(folder: Path, name: str, *arguments: str, stdin: str = "") -> str:
    """What the example writes to stdout."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_chat(folder: Path) -> None:
    assert run(folder, "chat.py", "f32.gguf", stdin="in the inn\nthen\n\n").count("> ") >= 3


def test_object(folder: Path) -> None:
    assert " of 5: " in run(folder, "object.py", "It broke at once.", "f32.gguf")


def test_stream(folder: Path) -> None:
    assert run(folder, "stream.py", "in the inn", "f32.gguf")


def test_score(folder: Path) -> None:
    lines = run(folder, "score.py", "f32.gguf", "in the inn", "then").splitlines()
    assert [line.partition(": ")[2] for line in lines if "bits per byte" in line] == ["in the inn", "then"]


def test_choose(folder: Path) -> None:
    lines = run(folder, "choose.py", "f32.gguf", "in", "the can", stdin="in the inn\nthen\n").splitlines()
    assert [line.partition("): ")[2] for line in lines] == ["in the inn", "then"]
    assert all(line.startswith(("in (in ", "the can (in ")) for line in lines)


def test_perplexity_of_two(folder: Path) -> None:
    lines = run(folder, "perplexity_of_two.py", "f32.gguf", "q8_0.gguf", "text", "4").splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["f32.gguf", "q8_0.gguf"]
    assert lines[2].endswith(("better", "worse", "undecided"))


def test_quantize(folder: Path) -> None:
    pytest.importorskip("libgguf")
    n_bytes = (folder / "f32.gguf").stat().st_size
    lines = run(folder, "quantize.py", "f32.gguf", "small.gguf", str(n_bytes / 3e6)).splitlines()
    assert lines[1].startswith("wrote small.gguf")
    assert (folder / "small.gguf").stat().st_size <= n_bytes / 3


def test_every_example_is_short_and_tested() -> None:
    scripts = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert max(scripts.values()) <= 30
    tests = "".join(file.read_text() for file in (Path(__file__), *(ROOT / "tests/cluster").glob("*.py")))
    assert all(f"def test_{name.removesuffix('.py')}(" in tests for name in scripts)
