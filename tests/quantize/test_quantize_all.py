"""Several recipes at once: the files of single runs, from one reading, taken up where they stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_builder import STR, U32, pair, tensor
from gguf_builder import gguf as gguf_bytes
from tiny_models import MIXED, write_model

import subbyte as sb
from subbyte.runtime.quantize import encode
from subbyte.runtime.quantize.quantize import file_name
from subbyte.runtime.recipes.recipe import Recipe
from subbyte.runtime.recipes.rule import Rule

RECIPES: list[str | Recipe] = ["Q8_0", "Q4_K_M", Recipe("mine", "Q4_0", (Rule("ffn_*", "F16"),), pure=True)]
NAMES = ["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-mine.gguf"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "m-f16.gguf"
    write_model(path, shape={**MIXED, "n_layer": 1}, types=["F16"])
    return path


@pytest.fixture(scope="module")
def single(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run for each recipe."""
    out, found = tmp_path_factory.mktemp("single") / "q.gguf", {}
    for name, recipe in zip(NAMES, RECIPES, strict=True):
        sb.quantize(source, out, recipe, overwrite=True)
        found[name] = out.read_bytes()
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_tensor_is_read_once(
    source: Path, single: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    original = encode.dequantize

    def counted(data: Any, type: str) -> Any:
        if isinstance(data, memoryview):  # of the source; what was encoded is bytes
            read.append(len(data))
        return original(data, type)

    monkeypatch.setattr(encode, "dequantize", counted)
    results = sb.quantize_all(source, tmp_path, RECIPES, threads=2)
    assert files(tmp_path) == single
    assert [result.out.name for result in results] == NAMES
    assert [result.n_bytes for result in results] == [len(single[name]) for name in NAMES]
    with sb.GGUF.open(source) as gguf:
        assert sum(read) == sum(t.n_bytes for t in gguf.tensors.values() if len(t.shape) > 1)


def test_an_interrupted_run_is_taken_up(source: Path, single: dict[str, bytes], tmp_path: Path) -> None:
    met: set[str] = set()

    def stop(what: str, done: int, total: int) -> None:
        met.add(what)
        if len(met) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sb.quantize_all(source, tmp_path, RECIPES, on_progress=stop)
    parts = sorted(tmp_path.iterdir())
    assert len(parts) == 3 and {part.suffix for part in parts} == {".part"}
    parts[0].unlink()  # as if it had been stopped before it was begun
    results = sb.quantize_all(source, tmp_path, RECIPES)
    assert sorted(result.resumed for result in results) == [0, 5, 5] and files(tmp_path) == single


def test_files_are_named_after_model_and_recipe() -> None:
    recipe = Recipe("a/../b \x1b", "Q8_0", pure=True)
    for source, name in [("m", "m"), ("m.BF16-00001-of-00002", "m"), ("f16", "f16"), ("m-Q4_K_M-b", "m-Q4_K_M-b")]:
        assert file_name(f"{source}.gguf", recipe) == f"{name}-a-..-b-.gguf"


def test_the_command(
    source: Path, tmp_path: Path, command_line: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    for line, code, says in [
        ("d Q8_0 Q4_K_M Q8_0", 2, "two recipes would write 'm-Q8_0.gguf'; give them names of their own"),
        ("none Q8_0 Q4_0", 4, "none: no folder; make it, or give another"),
        ("d Q8_0 IQ2_XS", 3, "needs an importance matrix"),
        ("d Q8_0 Q9", 2, "no recipe 'Q9'"),
        ("d Q8_0 --target-size 1GB", 2, "--target-size chooses one recipe"),
    ]:
        found = command_line("quantize", str(source), *line.split())
        assert found[0] == code and says in found[2] and found[2].count("\n") == 1, (line, found)
    assert list((tmp_path / "d").iterdir()) == []
    _, out, _ = command_line("quantize", str(source), "d", "Q8_0", "Q4_0", "--dry-run", "-o", "json")
    assert [Path(each["out"]).name for each in json.loads(out)["files"]] == ["m-Q8_0.gguf", "m-Q4_0.gguf"]
    assert (
        "out,type,n_tensors" in command_line("quantize", str(source), "d", "Q8_0", "Q4_0", "--dry-run", "-o", "csv")[1]
    )
    assert command_line("quantize", str(source), "d", "Q8_0")[0] == 0
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["m-Q8_0.gguf"]
    assert command_line("quantize", str(source), "d", "Q8_0", "Q4_0")[0] == 4  # one of them is there


def test_a_recipe_that_fails_in_the_middle_stops_no_other(tmp_path: Path) -> None:
    data = np.full(512, 1e30, "<f4").tobytes()
    pairs = [
        pair("general.architecture", STR, "llama"), pair("llama.block_count", U32, 1),
        pair("llama.attention.head_count", U32, 1),
    ]  # fmt: skip
    (tmp_path / "m.gguf").write_bytes(gguf_bytes(pairs, [tensor("blk.0.ffn_up.weight", [256, 2])], data))
    (tmp_path / "d").mkdir()
    one = sb.quantize(tmp_path / "m.gguf", tmp_path / "one.gguf", "BF16")
    with pytest.raises(sb.NumericError, match=r"^not written: m-F16\.gguf: tensor .*F16.*; the others were$"):
        sb.quantize_all(tmp_path / "m.gguf", tmp_path / "d", ["F16", "BF16"])
    assert files(tmp_path / "d") == {"m-BF16.gguf": one.out.read_bytes()}
    with pytest.raises(sb.NumericError, match=r"^not written: m-F16\.gguf: .* F16; .*; m-Q8_0\.gguf: .* Q8_0;"):
        sb.quantize_all(tmp_path / "m.gguf", tmp_path / "d", ["F16", "Q8_0"])
    assert files(tmp_path / "d").keys() == {"m-BF16.gguf"}
