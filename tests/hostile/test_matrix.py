"""The hostile matrix: every case ends in its error, soon and in little memory, and the process goes on as before.

Each is tried from Python, followed by a good model, and as a command. The processor's time is bounded, not the clock's.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import command_cases
import fault_cases
import model_cases
import number_cases
import numpy as np
import pytest
import structure_cases
import template_cases
import vocabulary_cases
from command_cases import CommandCase
from confined import confined, run_command
from fault_cases import FaultCase
from hostile import FileCase
from numpy.typing import NDArray
from tiny_models import write_model

import subbyte as sb
import subbyte.cli.main
import subbyte.runtime
from subbyte.errors import SubbyteError

pytestmark = pytest.mark.thorough

TABLES = (structure_cases, model_cases, vocabulary_cases, number_cases, template_cases)
FILES: list[FileCase] = [case for table in TABLES for case in table.CASES]
SECONDS = 5.0  # of the processor, to refuse a file: a hundred times what it takes
BYTES = 64 << 20  # beside four times the file's own


def alike(case: FileCase) -> bool:
    """Whether llama's hyper-parameters stand for it: read by the same code, and printed like any other error."""
    return case.number[0] == "G" and not case.what.startswith("llama.")


def takes_long(case: FileCase) -> bool:
    """Whether it renders a template, in a process of its own."""
    return case.number[0] == "T"


def parameter(case: FileCase) -> Any:
    marks = [pytest.mark.slow] if alike(case) or takes_long(case) else []
    return pytest.param(case, id=f"{case.number} {case.what}", marks=marks)


each_file = pytest.mark.parametrize("case", [*map(parameter, FILES)])
each_file_of_commands = pytest.mark.parametrize("case", [parameter(case) for case in FILES if not alike(case)])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.float32]]:
    """A sound model, and its logits."""
    path = tmp_path_factory.mktemp("good") / "good.gguf"
    write_model(path)
    return path, _logits(path)


def _logits(path: Path) -> NDArray[np.float32]:
    with sb.load(path, threads=1) as model, model.session(16) as session:
        return session.eval([1, 2, 3])


def _use(path: Path, then: Path) -> tuple[SubbyteError | None, NDArray[np.float32]]:
    """Uses of a model that read all of its file, the error that they end in, and a good model's logits after it."""
    try:
        with sb.load(path, threads=1) as model:
            model.generate("the thing", max_tokens=3, sampling=sb.Sampling(temperature=0)).run()
            with model.chat(max_tokens=2, n_ctx=256) as chat:
                chat.send("the thing")
        return None, _logits(then)
    except SubbyteError as error:
        return error, _logits(then)


def _bound(path: Path) -> int:
    return BYTES + 4 * (path.stat().st_size if path.is_file() else 0)


def _is_one_line(message: str, path: Path) -> bool:
    return message.isprintable() and len(message.replace(str(path.parent), "")) < 700


def _check_refusal(err: str, path: Path) -> None:
    """A command's stderr is one line that says why it refused, behind warnings if there are any."""
    *warnings, last = err.splitlines()
    assert last.startswith("subbyte: ") and err.endswith("\n") and _is_one_line(last, path), err
    assert all(line.startswith("subbyte: warning: ") for line in warnings), err


@each_file
def test_library(case: FileCase, tmp_path: Path, good: tuple[Path, NDArray[np.float32]]) -> None:
    path = tmp_path / "m.gguf"
    case.write(path)
    outcome = confined(partial(_use, path, good[0]))
    error, logits = outcome.value
    assert type(error) is (case.error or type(None)), error
    if error is not None:
        assert all(words in str(error) for words in case.says) and _is_one_line(str(error), path), str(error)
    assert np.array_equal(logits, good[1])
    assert outcome.seconds < SECONDS and outcome.peak < _bound(path)


@pytest.mark.slow
@each_file_of_commands
def test_command(case: FileCase, tmp_path: Path) -> None:
    """A template is looked at by those who chat: the others can use the file."""
    path = tmp_path / "m.gguf"
    case.write(path)
    chats = case in template_cases.CASES
    args = ("chat", str(path)) if chats else ("generate", str(path), "-p", "the thing", "-n", "3")
    outcome = confined(lambda: run_command(*args, "-t", "1", stdin="the thing\n"))
    code, out, err = outcome.value
    if case.error is None:
        assert code == 0 and out, err
    else:
        assert (code, out) == (case.error.exit_code, ""), err
        _check_refusal(err, path)
    assert outcome.seconds < SECONDS and outcome.peak < _bound(path)


@pytest.mark.slow
@each_file_of_commands
def test_inspect(case: FileCase, tmp_path: Path) -> None:
    """Says what is in a file that can't be run, too, and never a control character of it."""
    path = tmp_path / "m.gguf"
    case.write(path)
    outcome = confined(lambda: run_command("inspect", str(path)))
    code, out, err = outcome.value
    assert code in (0, 3, 4) and err.count("\n") <= 1 and out.replace("\n", "").isprintable(), (code, out, err)
    assert (code == 0) == bool(out) and outcome.seconds < SECONDS and outcome.peak < _bound(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files for command lines; all modules are imported now, and not by each command in its process."""
    for module in pkgutil.walk_packages(subbyte.runtime.__path__, "subbyte.runtime."):
        if ".compat." not in module.name:  # needs packages of others, and no command needs it
            importlib.import_module(module.name)
    importlib.import_module("tokenizers.pre_tokenizers")
    folder = tmp_path_factory.mktemp("folder")
    for name, write in command_cases.FILES.items():
        write(folder / name)
    return folder


@pytest.mark.parametrize("case", [pytest.param(c, id=f"{c.number} {c.line}") for c in command_cases.CASES])
def test_command_line(case: CommandCase, folder: Path) -> None:
    def work() -> tuple[int, str, str]:
        os.chdir(folder)
        return run_command(*shlex.split(case.line), stdin=case.stdin)

    before = sorted(path.name for path in folder.iterdir())
    outcome = confined(work)
    code, out, err = outcome.value
    assert code == case.code and case.says in out + err, (code, out, err)
    if code and case.line:
        assert out == "", out
        _check_refusal(err, folder)
    assert sorted(path.name for path in folder.iterdir()) == before  # a refused command leaves nothing behind
    assert outcome.seconds < SECONDS and outcome.peak < BYTES


@pytest.mark.slow
@pytest.mark.parametrize("case", [pytest.param(c, id=f"{c.number} {c.what}: {c.line:.60}") for c in fault_cases.CASES])
def test_fault(case: FaultCase, folder: Path) -> None:
    def work() -> tuple[int, str, str]:
        os.chdir(folder)
        return run_command(*shlex.split(case.line), stdin="the thing\n", fault=case.fault)

    before = sorted(path.name for path in folder.iterdir())
    outcome = confined(work)
    code, _, err = outcome.value
    assert code in case.codes and case.says in err, (code, err)
    if code not in (fault_cases.DONE, fault_cases.PIPE_CLOSED):
        last = err.splitlines()[-1]
        assert last.startswith("subbyte: ") and (_is_one_line(last, folder) or len(case.line) > 700), err
    left = {path.name for path in folder.iterdir()} - {*before}
    for name in left:
        (folder / name).unlink()
    assert code == fault_cases.DONE or left <= {"out.run"}, left  # a checkpoint is kept
    assert outcome.seconds < SECONDS and outcome.peak < BYTES
