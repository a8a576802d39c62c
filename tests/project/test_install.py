"""What a fresh clone meets: the Makefile's streams and steps, .ci/venv's refusals, and what an installation holds."""

import os
import shutil
import subprocess
import sys
import time
from importlib.metadata import distribution
from pathlib import Path

import pytest
from paths import ROOT

NOISE = 'echo noise; echo "$*" >> "{log}"; cat >/dev/null'  # speaks on stdout and eats stdin
WITH_TESTS = "-Csetup-args=-Dtests=true"
TESTS = "-m pytest -n auto --maxprocesses 4 --dist loadfile -m not slow"
needs_make = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


class Clone:
    """A clone whose .venv has stand-ins for python and subbyte; `log` has the arguments of each python."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        for name in ("cli/a.py", "kernels/a.c", "models/a.py", "runtime/a.pyx"):
            self.touch(name)
        for name in ("__init__.py", "__init__.pyi", "errors.py", "meson.build", "meson.options", "pyproject.toml"):
            self.touch(name)
        for name in (".ci/venv", ".venv/env"):
            self.touch(name)
        shutil.copy(ROOT / "Makefile", folder)
        self.script(".venv/bin/python", NOISE.format(log=self.log))
        self.script(".venv/bin/subbyte", 'echo "$@"; cat')
        self.age = 1_000_000.0
        for file in folder.rglob("*"):
            os.utime(file, (self.age, self.age))
        os.utime(folder / ".venv/env", (self.age + 1, self.age + 1))

    def touch(self, name: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def touch_source(self) -> None:
        """Makes a source younger than everything there is, and what make touches from now on younger than that."""
        youngest = max(file.stat().st_mtime for file in (self.folder / ".venv").iterdir())
        while time.time() <= youngest:
            time.sleep(0.01)
        os.utime(self.folder / "cli/a.py")
        time.sleep(0.01)

    def script(self, name: str, text: str) -> None:
        self.touch(name)
        (self.folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.folder / name).chmod(0o755)

    def make(self, *args: str) -> "subprocess.CompletedProcess[str]":
        env = {key: value for key, value in os.environ.items() if key not in {"MAKEFLAGS", "MAKELEVEL", "MODEL"}}
        command = ["make", "-s", *args]
        return subprocess.run(command, cwd=self.folder, env=env, input="question\n", capture_output=True, text=True)

    def steps(self) -> list[str]:
        steps = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [step.split("--disable-pip-version-check ")[-1] for step in steps]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    folder = tmp_path / "a clone"
    folder.mkdir()
    return Clone(folder)


@needs_make
def test_chat_installs_once_and_prints_just_the_answer(clone: Clone) -> None:
    done = clone.make("chat")
    assert (done.returncode, done.stdout) == (0, "chat smollm2\nquestion\n")
    assert done.stderr.startswith("Building and installing subbyte ...\n")
    assert clone.steps() == ["install ."]
    done = clone.make("chat", "MODEL=my model.gguf")
    assert (done.returncode, done.stdout, done.stderr) == (0, "chat my model.gguf\nquestion\n", "")
    assert clone.steps() == []


@needs_make
@pytest.mark.parametrize("changed", ["cli/a.py", "kernels/a.c", "runtime/a.pyx", "meson.build", "pyproject.toml"])
def test_a_changed_source_is_installed(clone: Clone, changed: str) -> None:
    clone.make("chat")
    future = (clone.folder / ".venv/installed").stat().st_mtime + 10
    os.utime(clone.folder / changed, (future, future))
    clone.steps()
    clone.make("chat")
    assert clone.steps() == ["install ."]


@needs_make
def test_tests_install_more_once(clone: Clone) -> None:
    """Whatever came first: what tests need is there for them, and stays for a chat."""
    clone.script(".venv/bin/ruff", "")
    clone.script(".venv/bin/mypy", "")
    for first in ([], ["install ."]):
        if first:
            clone.touch_source()
            clone.make("chat")
            assert clone.steps() == first
        assert clone.make("test").returncode == 0
        tools = [] if first else ["install --group dev"]
        assert clone.steps() == [f"install . {WITH_TESTS}", *tools, TESTS]
        assert clone.make("chat").returncode == 0
        assert clone.make("test").returncode == 0
        assert clone.steps() == [TESTS]


@needs_make
def test_an_editable_installation_is_left_alone(clone: Clone) -> None:
    assert clone.make("dev").stdout == ""
    assert clone.steps() == ["install --group dev", f"install -e . --no-build-isolation {WITH_TESTS}"]
    future = (clone.folder / ".venv/installed").stat().st_mtime + 10
    os.utime(clone.folder / "cli/a.py", (future, future))
    assert clone.make("chat").stdout == "chat smollm2\nquestion\n"
    assert clone.steps() == []


@needs_make
def test_a_failed_installation_is_tried_again(clone: Clone) -> None:
    clone.script(".venv/bin/python", f"{NOISE.format(log=clone.log)}; exit 1")
    for _ in range(2):
        done = clone.make("chat")
        assert (done.returncode, done.stdout) == (2, "")
        assert clone.steps() == ["install ."]


@pytest.mark.parametrize(
    ("python", "cc", "says"),
    [
        ("no-python", "true", "no no-python; install Python 3.10 or newer, or name one: make PYTHON=python3.12"),
        ("./old", "true", "Python 3.8.0 is too old; name a Python 3.10 or newer: make PYTHON=python3.12"),
        (sys.executable, "no-cc", "no C compiler; install one: sudo apt install gcc libc6-dev"),
        (sys.executable, "false", "false can't compile a program; try: sudo apt install gcc libc6-dev"),
    ],
)
def test_set_up_says_what_is_missing(tmp_path: Path, python: str, cc: str, says: str) -> None:
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.0\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci/venv", python], cwd=tmp_path, env=os.environ | {"CC": cc}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"subbyte: {says}\n")
    assert list(tmp_path.iterdir()) == [old]


def test_an_installation_holds_no_sources_of_compiled_code() -> None:
    files = [Path(str(file)) for file in distribution("subbyte").files or []]
    inside = {file.relative_to("subbyte").as_posix() for file in files if file.parts[0] == "subbyte"}
    if not inside:
        pytest.skip("an editable installation")
    others = {file.parts[0] for file in files if file.parts[0] != "subbyte" and not file.match("bin/subbyte")}
    assert all(name.endswith(".dist-info") for name in others)
    assert {Path(name).suffix for name in inside} <= {".html", ".py", ".pyc", ".pyi", ".so", ".typed", ".jsonl"}
    rooms = {name.split("/")[0] for name in inside if "/" in name}
    assert rooms - {"__pycache__"} == {"cli", "kernels", "models", "runtime"}
    assert {
        "py.typed",
        "kernels/_native.pyi",
        "runtime/gguf/_strings.pyi",
        "runtime/toolcheck/everyday.jsonl",
    } <= inside


def test_the_command_is_installed() -> None:
    (script,) = distribution("subbyte").entry_points.select(group="console_scripts")
    assert (script.name, script.value) == ("subbyte", "subbyte.cli.entry:main")


def test_import_warns_of_nothing(tmp_path: Path) -> None:
    code = "import subbyte as s; assert {*s.__all__} <= {*dir(s)}; [getattr(s, name) for name in s.__all__]"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
