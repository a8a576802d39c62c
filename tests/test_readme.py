"""What README shows is true: its Python runs, its commands exist, its tables name what the code has."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from vocabularies import model_file

from subbyte.kernels import FORMATS
from subbyte.models import ARCHITECTURES

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def row(name: str) -> str:
    return next(line for line in README.splitlines() if line.startswith(f"| {name} |"))


def test_every_architecture_is_named() -> None:
    assert set(re.findall(r"`(\w+)`", row("architectures"))) == set(ARCHITECTURES)


def test_every_block_type_is_named() -> None:
    text = row("block types").replace("Q2_K to Q6_K", "Q2_K Q3_K Q4_K Q5_K Q6_K")
    assert set(re.findall(r"\b[A-Z]+\d\w*", text)) == set(FORMATS)


def test_nothing_is_left_to_fill_in() -> None:
    assert not re.findall(r"^[A-Z]+$|TODO|XXX", README, re.MULTILINE)


def test_every_command_exists() -> None:
    commands = re.findall(r"^\$ subbyte (\w+)|`\.venv/bin/subbyte (\w+)", README, re.MULTILINE)
    assert commands
    start = "from subbyte.cli.main import main; main()"
    for name in {a or b for a, b in commands}:
        run = subprocess.run([sys.executable, "-c", start, name, "--help"], capture_output=True, text=True)
        assert f" {name} " in run.stdout


@pytest.mark.model
def test_the_python_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    path = model_file("smollm2")
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code.replace('sb.load("smollm2")', f"sb.load({str(path)!r})"), "README", "exec"), {})
    assert "Paris" in capsys.readouterr().out
