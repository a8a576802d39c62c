"""The benchmark of models of real size: its figures, its table, and what it leaves behind, on a tiny model."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import sizes
from click.testing import CliRunner
from tiny_synthetic import TINY

from subbyte.runtime.synthetic.write import SHAPES

MEASURED = sizes.Measured("m:Q4_0", "llama", 5e9, 5e8, 0.31, 412.5, 9.876, peak=5.3e9, mapped=4.9e9)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    vocabulary = TINY.vocabulary._replace(n_tokens=600, n_merges=342)
    monkeypatch.setitem(SHAPES, "tiny", replace(TINY, n_ctx_train=8192, vocabulary=vocabulary))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_line_for_every_model() -> None:
    assert sizes.render([MEASURED], 2, "2026-11-22").splitlines()[-1] == (
        "| m:Q4_0 | llama | 5000 | 500 | 0.31 | 412.5 | 9.88 | 5300 | 400 | kept |"
    )
    assert sizes.summary(MEASURED).endswith("9.88 tokens/s, peak 5300 MB, 400 of it not the file")


@pytest.mark.parametrize("changed, missed", [
    ({"load": 2.01}, ["load"]),
    ({"mapped": 4.7e9}, []),
    ({"mapped": 4.6e9}, ["memory"]),  # 700 MB: 500 are the cache, 150 are allowed
    ({"load": 9.0, "mapped": 0.0}, ["load", "memory"]),
])  # fmt: skip
def test_bounds(changed: dict[str, float], missed: list[str]) -> None:
    measured = replace(MEASURED, **changed)
    assert measured.misses == missed
    assert (", ".join(missed) or "kept") in sizes.render([measured], 2, "2026-11-22")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model loads too slowly, however busy the machine is."""
    monkeypatch.setattr(sizes, "MAX_LOAD", float("inf"))


@pytest.mark.usefixtures("patient")
def test_a_model_is_written_measured_told_and_deleted(tmp_path: Path) -> None:
    document = tmp_path / "note.md"
    document.write_text("before\n<!-- sizes -->\n<!-- end of sizes -->\nafter\n")
    result = CliRunner().invoke(sizes.main, ["tiny:Q4_0", "--threads", "1", "--write", str(document)])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("| tiny:Q4_0 | llama | 1 | 4 | ") == 1 and result.stdout.strip() in document.read_text()
    assert result.stderr.startswith("tiny:Q4_0: writing 0.0 GB\ntiny:Q4_0: loading")
    assert [*tmp_path.iterdir()] == [document]


@pytest.mark.thorough
@pytest.mark.usefixtures("patient")
def test_kept_files_are_not_written_again(tmp_path: Path) -> None:
    kept = tmp_path / "tiny-Q4_0.gguf"
    for _ in range(2):
        result = CliRunner().invoke(sizes.main, ["tiny:Q4_0", "--threads", "1", "--keep", str(tmp_path)])
        assert result.exit_code == 0 and [*tmp_path.iterdir()] == [kept]
    assert "writing" not in result.stderr


def test_what_can_not_be_measured_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no shape 'gpt'" in CliRunner().invoke(sizes.main, ["gpt:Q4_0"]).stderr
    monkeypatch.setattr(sizes, "available_memory", lambda: 1000)
    result = CliRunner().invoke(sizes.main, ["tiny:Q4_0"])
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: tiny:Q4_0 needs 0.0 GB of memory to be read from it, 0.0 GB are free; "
        "take fewer layers or another mixture\n"
    )


def test_the_models_named_exist_and_fit_the_machine_they_are_meant_for() -> None:
    models = [sizes.synthetic.parse(label) for label in sizes.MODELS]
    assert {model.shape.name for model in models} == {"exaone-7.8b", "llama-3-8b", "qwen3-14b", "nemotron-49b"}
    assert all(model.shape == SHAPES[model.shape.name] for model in models)
    assert max(model.n_bytes() for model in models) < 15e9


def test_pages_of_a_mapped_file_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a file.bin"
    path.write_bytes(bytes(1 << 22))
    code = f"""
import mmap, sys
from pathlib import Path
from engines.sizes_engine import peak_memory, resident
path = Path({str(path)!r})
before = resident(path)
with path.open("rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
sum(mapped[::4096])
print(before, resident(path), peak_memory() > 1 << 23)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(sizes.__file__).parent)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["0", str(1 << 22), "True"]
