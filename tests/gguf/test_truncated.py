"""A file that is cut short while it is opened or read ends in an error, not in the death of the process."""

import mmap
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiny_models import write_model

from subbyte.errors import ModelChanged
from subbyte.kernels import MappedFile, dequantize
from subbyte.runtime.imatrix.imatrix import Imatrix

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
    message = f"{path}: was cut short, or could not be read, while in use; load it again"
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, [message] * 2, ""), done


OPEN_AGAIN_AND_AGAIN = """
import sys, time
import subbyte as sb
outcomes, end = {"sound": 0, "refused": 0}, time.monotonic() + 3
while time.monotonic() < end or (min(outcomes.values()) == 0 and time.monotonic() < end + 100):
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


# A file that is cut right after it was found unchanged, then read: by the thread that looked, or by those of a pool.
CUT_BEHIND_THE_LOOK = """
import os, sys
import subbyte as sb
from subbyte.runtime.gguf.model_file import GGUF
path, other, call = sys.argv[1:]
look = GGUF.check_unchanged
def look_and_cut(gguf):
    look(gguf)
    if str(gguf.path) == path and os.path.getsize(path) > 9000:
        os.truncate(path, 9000)
GGUF.check_unchanged = look_and_cut
try:
    exec(call)
except sb.ModelChanged as error:
    print(error)
"""
# An importance matrix is looked at once, when it is opened.
CUT_IMATRIX = """
import os, sys
import subbyte as sb
from subbyte.runtime.imatrix import imatrix
values = imatrix._values
def cut_and_read(file, tensor):
    if os.path.getsize(sys.argv[1]) > 5000:
        os.truncate(sys.argv[1], 5000)
    return values(file, tensor)
imatrix._values = cut_and_read
try:
    sb.Imatrix.open(sys.argv[1])
except sb.ModelChanged as error:
    print(error)
"""
READERS = {
    "diff": "sb.diff(path, other)",
    "diff of weights": "sb.diff(other, path, weights=True)",
    "quantize": "sb.quantize(path, path + '.out', 'Q8_0')",
    "quantize, copied": "sb.quantize(path, path + '.out', sb.Recipe('all', 'F32', pure=True))",
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.thorough
def test_cut_while_it_is_read(path: Path, tmp_path: Path, reader: str) -> None:
    other = tmp_path / "other.gguf"
    if reader == "diff":
        other.write_bytes(path.read_bytes())
    else:
        write_model(other, seed=7)
    done = run_python(CUT_BEHIND_THE_LOOK, path, other, READERS[reader])
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.startswith(f"{path}: was c") and done.stdout.endswith("load it again\n"), done
    assert not Path(f"{path}.out").exists()


@pytest.mark.thorough
def test_an_importance_matrix_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    squares = {f"blk.{i}.attn_q.weight": np.ones((1, 4096)) for i in range(4)}
    counts = dict.fromkeys(squares, np.ones(1))
    path = tmp_path / "m.imatrix"
    Imatrix(squares, counts, {}, (), 1, 1).save(path)
    done = run_python(CUT_IMATRIX, path)
    message = f"{path}: was cut short, or could not be read, while in use; load it again\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, message, ""), done


@pytest.mark.parametrize("n_threads", [1, 8])
def test_a_mapped_file_is_read_by_any_thread(tmp_path: Path, n_threads: int) -> None:
    page, path = mmap.PAGESIZE, tmp_path / "f"
    path.write_bytes(b"x" * (4 * page + 100))
    with path.open("rb") as file:
        mapped = MappedFile(file.fileno(), 4 * page + 100)
    sound = memoryview(mapped)
    os.truncate(path, 2 * page)
    assert not mapped.unreadable
    with ThreadPoolExecutor(n_threads) as pool:
        found = list(pool.map(lambda at: sound[at], [*range(0, len(sound), 50)] * n_threads))
    assert [*map(bool, found)] == [at < 2 * page for at in range(0, len(sound), 50)] * n_threads
    assert mapped.unreadable and sound[0] == ord("x")
    with pytest.raises(ModelChanged, match="load it again"):
        dequantize(sound[: 4 * page], "F32")


def test_a_map_lives_as_long_as_its_views(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    for _ in range(3):  # its place in the list of maps is used again
        with path.open("rb") as file:
            view = memoryview(MappedFile(file.fileno(), 3))
        assert bytes(view) == b"abc" and view.readonly
    with path.open("rb") as file, pytest.raises(ValueError):
        MappedFile(file.fileno(), 0)
    with pytest.raises(OSError):
        MappedFile(-1, 3)
