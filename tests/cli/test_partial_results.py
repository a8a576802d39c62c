"""Ctrl-C while a command measures: what was measured is printed or written, stderr says how much, exit code 130."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import write_model

import subbyte as sb
from subbyte.cli.terminal.perplexity_progress import PerplexityProgress
from subbyte.cli.terminal.progress_bar import ProgressBar

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 3000).tolist())
SHORT = ("-f", "text", "-c", "64", "--chunks", "5", "-t", "1")
HINT = "; none are kept, --resume FILE would keep them"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("partial")
    write_model(folder / "a.gguf")
    write_model(folder / "b.gguf", types=["Q8_0"])
    (folder / "text").write_bytes(TEXT)
    return folder


@pytest.fixture
def subbyte(folder: Path, command_line: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(folder)
    return command_line


def interrupt(monkeypatch: pytest.MonkeyPatch, at: Callable[[int, tuple[Any, ...]], bool]) -> None:
    """Ctrl-C while progress is shown; at(n, progress): whether the n-th time."""
    seen: list[object] = []

    def update(self: object, *progress: object) -> None:
        seen.append(progress)
        if at(len(seen), progress):
            raise KeyboardInterrupt

    for display in (ProgressBar, PerplexityProgress):
        monkeypatch.setattr(display, "update", update)


def test_perplexity(subbyte: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, lambda n, _: n == 2)
    code, out, err = subbyte("perplexity", "a.gguf", "b.gguf", *SHORT, "-o", "json")
    assert (code, err) == (130, f"subbyte: interrupted: results of 2 of 5 chunks{HINT}\n")
    with sb.load("a.gguf", threads=1) as model:
        expected = sb.perplexity(model, TEXT, n_ctx=64, chunks=2)
    result = json.loads(out)["results"][0]
    assert (result["chunks"], result["total_chunks"]) == (2, 5)
    assert (result["ppl"], result["error"]) == (expected.ppl, expected.error)


def test_perplexity_as_text(subbyte: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, lambda n, _: n == 3)
    code, out, _ = subbyte("perplexity", "a.gguf", *SHORT)
    assert code == 130 and "PPL = " in out and "95% interval of PPL: too few chunks\n" in out
    assert "3 of 5 chunks, 93 tokens scored" in out


def test_nothing_is_shown_before_the_first_chunk(subbyte: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("subbyte.runtime.evaluation.forward.Forward.logprobs", interrupted)
    assert subbyte("perplexity", "a.gguf", *SHORT) == (130, "", "")


def test_report(subbyte: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, lambda n, step: step[:2] == ("perplexity and divergence", 2))
    code, out, err = subbyte("report", "b.gguf", "--base", "a.gguf", *SHORT, "-o", "json")
    covered = "2 of 5 chunks and the speed of 0 of 2 files"
    assert (code, err) == (130, f"subbyte: interrupted: results of {covered}{HINT}\n")
    row = json.loads(out)["rows"][0]
    assert (row["perplexity"]["chunks"], row["prompt"]) == (2, None) and row["divergence"]["kld"]["value"] > 0
    for output in ("text", "md"):
        code, out, _ = subbyte("report", "b.gguf", "--base", "a.gguf", *SHORT, "-p", "8", "-n", "1", "-o", output)
        assert code == 130 and "b.gguf" in out and "tokens/s" not in out


def test_imatrix(subbyte: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interrupt(monkeypatch, lambda n, _: n == 2)
    code, out, err = subbyte("imatrix", "a.gguf", str(tmp_path / "i.gguf"), *SHORT)
    assert (code, err) == (
        130,
        f"subbyte: interrupted: results of 2 of 5 chunks{HINT}\n",
    ) and ", 2 of 5 chunks of 64 tokens" in out
    written = sb.Imatrix.open(tmp_path / "i.gguf")
    with sb.load("a.gguf", threads=1) as model:
        expected = sb.imatrix(model, TEXT, n_ctx=64, chunks=2)
    assert written.chunk_count == 2
    assert all(np.array_equal(written.weights(name), expected.weights(name)) for name in expected.squares)


@pytest.mark.thorough
def test_bench(subbyte: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, lambda n, step: "run 2 of 3" in step[0])
    args = ("bench", "a.gguf", "-p", "8", "-n", "2", "-r", "3", "-t", "1")
    code, out, err = subbyte(*args, "-o", "json")
    assert (code, err) == (130, "subbyte: interrupted: results of 2 of 6 runs\n")
    facts = json.loads(out)
    assert facts["repeats"] == 1 and [len(test["runs"]) for test in facts["tests"]] == [1, 1]
    code, out, _ = subbyte(*args)
    assert code == 130 and "pp8" in out and "one run" in out


RESUMABLE = {
    "perplexity": (["perplexity", "a.gguf", "b.gguf"], "2 of 5 chunks"),
    "compare": (["compare", "a.gguf", "b.gguf"], "2 of 5 chunks"),
    "blame": (["compare", "a.gguf", "b.gguf", "--blame", "layer"], "2 of 5 chunks"),
    "report": (["report", "b.gguf", "-p", "8", "-n", "1", "-r", "1"], "2 of 5 chunks and the speed of 0 of 1 files"),
    "imatrix": (["imatrix", "a.gguf", "out.gguf"], "2 of 5 chunks"),
}


@pytest.mark.parametrize(("command", "covered"), RESUMABLE.values(), ids=RESUMABLE)
def test_the_command_that_goes_on_is_said_and_goes_on(
    command: list[str], covered: str, subbyte: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "the run"
    Path("out.gguf").unlink(missing_ok=True)
    args = [*command, *SHORT, "--resume", str(file)]
    with monkeypatch.context() as patches:
        interrupt(patches, lambda n, progress: n == 2 if command[0] != "report" else progress[:2] == ("perplexity", 2))
        code, out, err = subbyte(*args)
        assert code == 130 and "2 of 5 chunks" in out
        assert (tmp_path / "the run.blame-1").exists() == ("--blame" in command)
        begin, said = err.split("; to go on: ")
        assert begin == f"subbyte: interrupted: results of {covered}, kept in {file}"
        assert shlex.split(said) == ["subbyte", *args, *(["--overwrite"] if command[0] == "imatrix" else [])]
    steps: list[object] = []
    for display in (ProgressBar, PerplexityProgress):
        monkeypatch.setattr(display, "update", lambda self, *progress: steps.append(progress))
    code, out, err = subbyte(*shlex.split(said)[1:])
    assert (code, err) == (0, "") and "5 chunks" in out and "of 5 chunks" not in out
    if command[0] == "imatrix":
        with sb.load("a.gguf", threads=1) as model:
            expected = sb.imatrix(model, TEXT, n_ctx=64, chunks=5).digest()
        assert len(steps) == 3 and sb.Imatrix.open("out.gguf").chunk_count == 5
        with sb.load("a.gguf", threads=1) as model:
            assert sb.imatrix(model, TEXT, n_ctx=64, chunks=5, resume=file).digest() == expected


def test_a_checkpoint_that_is_none_is_refused_in_one_line(subbyte: Call, tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_text("my precious note without newline")
    Path("out.gguf").unlink(missing_ok=True)
    for command, _ in RESUMABLE.values():
        code, out, err = subbyte(*command, *SHORT, "--resume", str(note))
        assert (code, out) == (5, "") and err == (
            f"subbyte: {note}: is no checkpoint of a measurement; give another file\n"
        )
        assert note.read_text() == "my precious note without newline"
