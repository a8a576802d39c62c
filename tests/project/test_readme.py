"""What README shows is true: its Python runs, its commands exist, its table of what runs is the code's."""

import re
import subprocess
import sys

import pytest
import supported_table
from vocabularies import model_file

from subbyte.kernels import isas

README = supported_table.README.read_text()


def test_the_table_of_what_runs_is_the_codes() -> None:
    assert supported_table.written(README) == supported_table.table(), (
        "run: .venv/bin/python tests/support/supported_table.py"
    )


@pytest.mark.parametrize("isa", isas())
def test_the_table_names_what_this_machine_has(isa: str) -> None:
    assert f"`{isa}`" in supported_table.processors()


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
