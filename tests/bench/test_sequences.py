"""benchmarks/sequences.py: sequences of a step are as many as asked for, and ratios are of one round."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import sequences
from click.testing import CliRunner
from engines.llama_batched_bench import parse
from engines.turns import EngineError
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


TABLE = """\
main: n_kv_max = 2048, n_batch = 512, n_threads = 2
|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |
|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|
|     2 |      7 |    1 |      9 |    0.050 |    40.00 |    0.200 |   {one} |    0.250 |    36.00 |
|     2 |      7 |    3 |     27 |    0.100 |    60.00 |    0.400 |    50.00 |    0.500 |    54.00 |
"""


def test_beside_llama_cpp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBBYTE_ISA", "scalar")
    program = tmp_path / "llama-batched-bench"
    program.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/calls\ncat <<'END'\n{TABLE.format(one='25.00')}END\n")
    program.chmod(0o755)
    options = ["--synthetic=tiny:Q4_K", "--sequences=3", "--rounds=2", "--steps=7", "--threads=1"]
    result = CliRunner().invoke(sequences.main, [*options, f"--llama-batched-bench={program}"])
    assert result.exit_code == 0, result.output
    assert "\n| llama.cpp | 25.0 | 50.0 | 2.00 [2.00 .. 2.00] |\n" in result.stdout
    assert "\n| our tokens/s to llama.cpp's | " in result.stdout and "--llama-batched-bench PATH" in result.stdout
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 2 and all(" -ntg 7 -npl 1,3 -t 1" in call for call in calls)
    program.write_text("#!/bin/sh\necho no such model >&2\nexit 1\n")
    result = CliRunner().invoke(sequences.main, [*options, f"--llama-batched-bench={program}"])
    assert result.exit_code == 1 and "gave nothing for 1 sequences: 'no such model" in result.stderr
    with pytest.raises(EngineError, match="nothing for 3 sequences"):
        parse(TABLE.format(one="25.00").rsplit("\n", 2)[0], [1, 3])
