"""ARM's kernels, run by qemu: results of this machine replayed on three processors, then the tests themselves on ARM.

Each is skipped where what it needs can't be had (arm.py says what).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import arm
import pytest
from arm import Unavailable
from arm_vectors import every_vector

pytestmark = pytest.mark.slow

# The least processor, one with dot products, and all qemu knows (matrix products of int8, too); the tables they have.
PROCESSORS = {
    "cortex-a57": ["scalar", "neon"],
    "cortex-a76": ["scalar", "neon", "neondot"],
    "max": ["scalar", "neon", "neondot", "neoni8mm"],
}
# Architectures that have every operation between them, in every variant of attention.
EVERY_OPERATION = "llama exaone4 gemma2 gemma4 gpt-oss hunyuan deepseek2 qwen35 lfm2 granitehybrid".split()
# Files of tests that run on ARM, and which of their tests (-k); NEON's tables share what is not int8.
TESTS = {
    "kernels/test_int8": "neon",
    "kernels/test_float_kernels": "neon and not neondot and not neoni8mm",
    "kernels/test_recurrent_kernels": "neon and not neondot and not neoni8mm",
    "models/test_forward_pass": f"not scalar and not neondot and ({' or '.join(EVERY_OPERATION)})",
    "generation/test_session": "cut",
}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("arm") / "vectors"
    with path.open("wb") as file:
        file.writelines(every_vector())
    yield path
    path.unlink()  # 40 MB


@pytest.fixture(scope="module")
def replay() -> Path:
    try:
        with suppress(Unavailable):
            arm.fetch_python()  # so that one build serves both
        return arm.build("tests/kernels/arm/replay") / "tests" / "kernels" / "arm" / "replay"
    except Unavailable as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("processor", PROCESSORS)
def test_kernels_give_what_they_give_here(processor: str, replay: Path, vectors: Path) -> None:
    command = ["qemu-aarch64", "-cpu", processor, "-L", "/usr/aarch64-linux-gnu", str(replay), str(vectors)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    tables, *failures = done.stdout.splitlines()
    assert tables.split() == PROCESSORS[processor]
    assert done.returncode == 0, "\n".join(failures[:20])


# ---- the tests themselves; what does not depend on the processor, or is what the replay shows, is left out ----


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """pytest on ARM, of all TESTS at once, each with a folder of its own: who ends first empties a shared one."""
    try:
        # Plugins of other packages may be compiled for this processor.
        environment = {**arm.install(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    except Unavailable as missing:
        pytest.skip(str(missing))
    start = [str(arm.PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    folder = tmp_path_factory.mktemp("tests-on-arm")
    processes = {
        name: subprocess.Popen(
            [*start, f"--basetemp={folder / Path(name).name}", f"tests/{name}.py", "-k", chosen],
            text=True, cwd=arm.ROOT, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for name, chosen in TESTS.items()
    }  # fmt: skip
    yield processes
    for process in processes.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", TESTS)
def test_tests_pass_on_arm(name: str, runs: dict[str, subprocess.Popen[str]]) -> None:
    said = runs[name].communicate(timeout=1800)[0]
    assert runs[name].returncode == 0, said[-4000:]
    assert " passed" in said
