"""benchmarks/candidates.py: both ways give the same, and take turns."""

from __future__ import annotations

from pathlib import Path

import candidates
import pytest
from click.testing import CliRunner
from tiny_models import write_model


def test_ways_take_turns_and_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "m.gguf")
    options = ["--prefix=20", "--candidates=3", "--tokens=2", "--rounds=2"]
    result = CliRunner().invoke(candidates.main, [str(tmp_path / "m.gguf"), *options])
    assert result.exit_code == 0, result.output
    head, *lines = result.output.splitlines()
    assert head.endswith("3 candidates of 2 tokens behind 20; 2 rounds")
    ways = ["the prefix with one candidate", "with all candidates", "the naive way"]
    assert [line.split("  ")[0] for line in lines] == ways and all(line.endswith("of the first") for line in lines)
    monkeypatch.setattr(candidates, "naive", lambda model, of: [0.0] * 3)
    result = CliRunner().invoke(candidates.main, [str(tmp_path / "m.gguf"), *options])
    assert (result.exit_code, result.stderr) == (1, "Error: the two ways differ\n")
