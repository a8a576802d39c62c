"""The thread pool, by a C program that runs it hard (threads_harness.c), plain and with ThreadSanitizer."""

import shutil
import subprocess
from pathlib import Path

import pytest
from paths import ROOT

HARNESS = Path(__file__).with_name("threads_harness.c")
KERNELS = ROOT / "kernels"
CC = shutil.which("gcc") or shutil.which("cc")


def build(out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    if CC is None:
        pytest.skip("no C compiler")
    sources = [str(HARNESS), str(KERNELS / "threads/pool.c"), str(KERNELS / "threads/fifo_lock.c")]
    wrap = ["-Wl,--wrap=pthread_create", "-pthread"]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    command = [CC, "-std=gnu11", "-g", *warnings, f"-I{KERNELS}", *flags, *sources, *wrap, "-o", str(out)]
    return subprocess.run(command, capture_output=True, text=True)


def run(*command: str | int | Path) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.thorough
def test_pool(tmp_path: Path) -> None:
    built = build(tmp_path / "harness", "-O2")
    assert built.returncode == 0, built.stderr
    run(tmp_path / "harness", 2000, "fork")


@pytest.mark.thorough
def test_one_cpu(tmp_path: Path) -> None:
    if shutil.which("taskset") is None:
        pytest.skip("no taskset")
    built = build(tmp_path / "harness", "-O2")
    assert built.returncode == 0, built.stderr
    run("taskset", "-c", "0", tmp_path / "harness", 200, "fork")


@pytest.mark.thorough
def test_no_data_races(tmp_path: Path) -> None:
    if build(tmp_path / "harness", "-O1", "-fsanitize=thread").returncode != 0:
        pytest.skip("no ThreadSanitizer")
    probe = subprocess.run([str(tmp_path / "harness"), "0"], capture_output=True, text=True, timeout=120)
    if "unexpected memory mapping" in probe.stderr:
        pytest.skip("ThreadSanitizer does not run on this kernel")
    run(tmp_path / "harness", 200)
