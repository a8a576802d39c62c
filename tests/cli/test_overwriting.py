"""Every command that writes a file: over nothing but its own kind, and that only with --overwrite."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_models import MIXED, write_model

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 800).tolist())
Call = Callable[..., tuple[int, str, str]]
WRITERS = {
    "imatrix": ("imatrix", "m.gguf", "OUT", "-f", "text", "-c", "32", "--chunks", "2"),
    "compare": ("compare", "m.gguf", "m.gguf", "-f", "text", "-c", "32", "--chunks", "2", "--save-base", "OUT"),
    "inspect": ("inspect", "m.gguf", "--svg", "OUT"),
    "quantize": ("quantize", "m.gguf", "OUT", "Q8_0"),
}
KEEP = ("bench", "--synthetic", "llama-3.2-1b:Q4_K:1", "--keep", "OUT")


@pytest.fixture
def write(tmp_path: Path, command_line: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a command of the table in a folder with a model and a text."""
    write_model(tmp_path / "m.gguf", shape={**MIXED, "n_layer": 1}, types=["Q8_0"])
    (tmp_path / "text").write_bytes(TEXT)
    monkeypatch.chdir(tmp_path)

    def call(command: tuple[str, ...], out: str, *more: str) -> tuple[int, str]:
        code, _, err = command_line(*(out if part == "OUT" else part for part in command), *more)
        return code, err

    return call


@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
def test_a_file_of_the_same_kind_is_replaced_when_asked(command: tuple[str, ...], write: Call, tmp_path: Path) -> None:
    assert write(command, "out")[0] == 0
    first = (tmp_path / "out").read_bytes(), (tmp_path / "out").stat().st_ino
    code, err = write(command, "out")
    assert code == 4 and err.startswith("subbyte: out: ")
    assert err.endswith(" exists; --overwrite replaces it, or give another place\n")
    assert ((tmp_path / "out").read_bytes(), (tmp_path / "out").stat().st_ino) == first
    assert write(command, "out", "--overwrite")[0] == 0
    assert (tmp_path / "out").stat().st_ino != first[1]
    assert sorted(os.listdir(tmp_path)) == ["m.gguf", "out", "text"]


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
@pytest.mark.parametrize("command", [*WRITERS.values(), KEEP], ids=[*WRITERS, "bench"])
def test_no_other_file_is_replaced(
    command: tuple[str, ...], more: tuple[str, ...], write: Call, tmp_path: Path
) -> None:
    os.mkfifo("pipe")
    other = {"text": TEXT, "m.gguf": (tmp_path / "m.gguf").read_bytes(), "package.json": b"{}\n"}
    (tmp_path / "package.json").write_bytes(other["package.json"])
    for name in other:
        code, err = write(command, name, *more)
        assert code == 4 and err.count("\n") == 1 and ("never overwritten" in err or "--overwrite replaces" in err)
    folder = [] if command[0] == "quantize" else ["."]  # in a folder quantize writes files of its recipes' names
    for name in ("pipe", "/dev/null", "/dev/full", *folder):
        code, err = write(command, name, *more)
        assert code in (2, 4) and err.count("\n") == 1  # click itself refuses a folder
    assert {name: (tmp_path / name).read_bytes() for name in other} == other
    assert stat.S_ISFIFO(os.stat("pipe").st_mode) and stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert sorted(os.listdir(tmp_path)) == ["m.gguf", "package.json", "pipe", "text"]


@pytest.mark.parametrize("command", [*WRITERS.values(), KEEP], ids=[*WRITERS, "bench"])
def test_a_path_that_is_too_long_is_one_line(command: tuple[str, ...], write: Call) -> None:
    for name in ("x" * 300, "x/" * 3000 + "y"):
        code, err = write(command, name)
        assert code in (2, 4) and err.count("\n") == 1 and "internal error" not in err


def test_texts_and_models_with_odd_paths_are_one_line(write: Call, command_line: Call) -> None:
    for name in ("x" * 5000, "x/" * 3000, "x" * 300 + ".gguf", "hf:user/" + "x" * 300):
        for line in (("inspect", name), ("perplexity", "m.gguf", "-f", name), ("quantize", name, "q", "Q8_0")):
            code, _, err = command_line(*line)
            assert code == 4 and err.count("\n") == 1


def test_a_text_is_read_in_pieces(write: Call, tmp_path: Path) -> None:
    from subbyte.cli.terminal.console import MAX_CORPUS, read_bytes

    class Watched:
        """Stands for stdin; a buffer of the limit would be asked for at once."""

        def __init__(self) -> None:
            self.left, self.asked = [b"a" * 10, b"b"], 0

        def read(self, n: int) -> bytes:
            self.asked = max(self.asked, n)
            return self.left.pop(0) if self.left else b""

    watched = Watched()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", type("", (), {"buffer": watched}))
        assert read_bytes("-", MAX_CORPUS) == b"a" * 10 + b"b"
    assert watched.asked <= 1 << 20
    assert read_bytes(str(tmp_path / "text"), MAX_CORPUS) == TEXT
