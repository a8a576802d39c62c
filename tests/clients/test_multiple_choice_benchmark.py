"""benchmarks/multiple_choice.py: both ways give the same, and take turns."""

from __future__ import annotations

from pathlib import Path

import multiple_choice
import pytest
from click.testing import CliRunner
from tiny_models import write_model

pytest.importorskip("lm_eval")
pytestmark = pytest.mark.filterwarnings("default")


def test_ways_take_turns_and_give_the_same(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    options = ["--shots=1", "--questions=2", "--rounds=2"]
    result = CliRunner().invoke(multiple_choice.main, [str(tmp_path / "m.gguf"), *options])
    assert result.exit_code == 0, result.output
    head, *lines = result.output.splitlines()
    assert head.endswith("8 requests, 1 examples")
    assert [line.split("  ")[0] for line in lines] == ["at once", "one at a time"]
