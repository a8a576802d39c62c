"""A file that is cut short while it is opened ends in an error, not in the death of the process."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import write_model

# Cuts the file right before a function is called, then opens the model, twice.
CUT_BEFORE = """
import os, sys
import subbyte as sb
from subbyte.models import llama
from subbyte.runtime.gguf import shard
path, room, name, size = sys.argv[1], {"llama": llama, "shard": shard}[sys.argv[2]], sys.argv[3], int(sys.argv[4])
whole, function = open(path, "rb").read(), getattr(room, name)
def cut(*args):
    os.truncate(path, size)
    return function(*args)
setattr(room, name, cut)
for _ in range(2):
    open(path, "wb").write(whole)
    try:
        sb.load(path)
    except sb.ModelChanged as error:
        print(error)
setattr(room, name, function)
open(path, "wb").write(whole)
with sb.load(path) as model, model.session(8) as session:
    session.eval([1])
"""
PLACES = [
    ("shard", "_read_header", 0),
    ("shard", "read_values", 0),
    ("shard", "read_tensors", 0),
    ("llama", "forward", 5000),
]


def run_python(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, timeout=60)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_model(tmp_path / "m.gguf")
    return tmp_path / "m.gguf"


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[1])
@pytest.mark.thorough
def test_cut_before(path: Path, place: tuple[str, str, int]) -> None:
    done = run_python(CUT_BEFORE, path, *place)
    message = f"{path}: was cut short, or could not be read, while being opened; load it again"
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, [message] * 2, ""), done


OPEN_AGAIN_AND_AGAIN = """
import sys, time
import subbyte as sb
outcomes, end = {"sound": 0, "refused": 0}, time.monotonic() + 3
while time.monotonic() < end:
    try:
        sb.load(sys.argv[1]).close()
        outcomes["sound"] += 1
    except sb.SubbyteError:
        outcomes["refused"] += 1
print(min(outcomes.values()) > 0, outcomes)
"""


@pytest.mark.thorough
def test_cut_by_another_process_at_any_time(path: Path) -> None:
    whole, choose = path.read_bytes(), random.Random(1)
    with (
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AGAIN_AND_AGAIN, str(path)], stdout=subprocess.PIPE, text=True
        ) as child,
        path.open("r+b") as file,
    ):
        while child.poll() is None:
            os.truncate(path, choose.randrange(len(whole)))
            file.seek(0)
            file.write(whole)
            file.flush()
        assert child.returncode == 0, signal.Signals(-child.returncode).name
        assert child.stdout is not None and child.stdout.read().startswith("True")
