"""benchmarks/sequences.py: sequences of a step are as many as asked for, and ratios are of one round."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import sequences
from click.testing import CliRunner
from tiny_synthetic import TINY

from subbyte.runtime.session.runner import Runner, Segment
from subbyte.runtime.synthetic.write import SHAPES


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(SHAPES, "tiny", TINY)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_every_number_of_sequences_in_turns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Steps of 1 and of 3 sequences, then of 3 and of 1, two after one to warm up each, and a row of a table."""
    steps: list[int] = []
    as_it_is = Runner.step

    def step(self: Runner, segments: list[Segment], targets: None = None) -> object:
        steps.append(len(segments))
        assert all(len(s.tokens) == 1 for s in segments) and len({id(s.sequence) for s in segments}) == len(segments)
        return as_it_is(self, segments, targets)

    monkeypatch.setattr(Runner, "step", step)
    monkeypatch.setenv("SUBBYTE_ISA", "scalar")
    document = tmp_path / "d.md"
    machine, isa = sequences.processor(), sequences.best_isa()
    document.write_text(f"<!-- sequences: {machine}, {isa} -->\n<!-- end of sequences: {machine}, {isa} -->\n")
    options = ["--synthetic=tiny:Q4_K", "--sequences=3", "--rounds=2", "--steps=2", f"--write={document}"]
    options += ["--threads=1", "--processor-time"]
    result = CliRunner().invoke(sequences.main, options)
    assert result.exit_code == 0, result.output
    assert steps == 3 * [1] + 3 * [3] + 3 * [3] + 3 * [1]
    text = document.read_text()
    assert "Tokens/s of processor time by number of sequences:" in text
    assert "| type or model | 1 | 3 | of 1 |" in text and "\n| Q4_K | " in text
    assert "    SUBBYTE_ISA=scalar python benchmarks/sequences.py --synthetic tiny:Q4_K --sequences 3 " in text
    assert not [path for path in tmp_path.iterdir() if path != document]


def test_a_row_has_medians_and_ratios_of_rounds() -> None:
    rates = {1: [10.0, 20.0, 40.0], 2: [15.0, 40.0, 40.0]}
    assert sequences.row("m", rates) == "| m | 20.0 | 40.0 | 1.50 [1.00 .. 2.00] |"


@pytest.mark.parametrize("text", ["1,2", "0", "65", "two", "2,", ""])
def test_numbers_that_are_none(text: str) -> None:
    result = CliRunner().invoke(sequences.main, [f"--sequences={text}"])
    assert result.exit_code == 1
    assert result.stderr == f"Error: --sequences {text}: expected numbers from 2 to 64, such as 2,4,8\n"


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF and no more")
    result = CliRunner().invoke(sequences.main, [str(tmp_path / "m.gguf")])
    assert result.exit_code == 1 and result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
