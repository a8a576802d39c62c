"""DynamicGate's mixtures against llama.cpp's standard ones on a real model, from the model to docs/dynamicgate.md.

    python benchmarks/dynamicgate.py -f wiki.test.raw [--model smollm2] [--calibration FILE] [--chunks 40]
        [--folder FOLDER] [--out docs/dynamicgate.md]

The model is widened (benchmarks/widen.py) so that its rows hold whole blocks of 256, an importance matrix is computed
on a text that is not the test text, and each mixture is written with it. `sb.report` measures all files against the F32
one; the same chunks for all, so that differences have intervals. Files of one name are not of one size: DynamicGate's
are larger. So each is also compared with what standard files of its size would have, between its two neighbours.

FOLDER keeps the files (1.7 GB; default: a temporary one, which goes), and files that it has already are used as they
are, so that a run can go on. The default calibration text is benchmarks/alice.txt and the reference that Python brings
along for its `help()`, which differs a little from one version of Python to the next.
"""

import argparse
import hashlib
import json
import shlex
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from pydoc_data import topics

from tables.dynamicgate_document import document
from widen import widen

import subbyte as sb

WIDTH = 768
TYPES = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S")
FINER = ("IQ2_M", "IQ3_XXS")  # standard files that are larger than the largest of DynamicGate's
RECIPES = (*(prefix + name for name in TYPES for prefix in ("", "DynamicGate-")), *FINER)
ALICE = Path(__file__).with_name("alice.txt")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "dynamicgate.md"
START = time.perf_counter()


def say(what: str) -> None:
    print(f"{time.perf_counter() - START:5.0f} s  {what}", flush=True)


def file_name(argument: str) -> str:
    """An argument without the folders that only this machine has."""
    return argument.rpartition("/")[2]


def default_calibration() -> bytes:
    """Prose and technical English, none of it from an encyclopedia."""
    return "\n\n".join([ALICE.read_text(), *topics.topics.values()]).encode()


def make_files(model: str, calibration: bytes, calibration_chunks: int, folder: Path) -> tuple[Path, list[Path]]:
    """The widened model, and the quantized files made of it."""
    base, importances = folder / "F32.gguf", folder / "imatrix.gguf"
    if not base.exists():
        say(f"widening {model}")
        widen(model, base, WIDTH)
    if not importances.exists():
        say(f"importance matrix, {calibration_chunks} chunks")
        with sb.load(base) as loaded:
            sb.imatrix(loaded, calibration, chunks=calibration_chunks).save(importances)
    files = []
    for recipe in RECIPES:
        files.append(folder / f"{recipe}.gguf")
        if not files[-1].exists():
            say(f"quantizing {recipe}")
            sb.quantize(base, files[-1], recipe, imatrix=importances)
    return base, files


class Stages:
    """Progress of a report: a line at the start of each stage, and for each tenth chunk."""

    def __init__(self) -> None:
        self._last = ""

    def update(self, what: str, done: int, total: int) -> None:
        stage = what.split(":")[0]
        if stage != self._last or (stage.startswith("perplexity") and done % 10 == 0):
            say(f"{stage}, {done} of {total}" if stage.startswith("perplexity") else stage)
        self._last = stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--file", type=Path, required=True)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--calibration-chunks", type=int, default=60)
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path, default=PAGE)
    a = parser.parse_args()
    calibration = a.calibration.read_bytes() if a.calibration else default_calibration()
    with ExitStack() as stack:
        folder = a.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="subbyte-")))
        folder.mkdir(exist_ok=True)
        base, files = make_files(a.model, calibration, a.calibration_chunks, folder)
        report = sb.report(files, a.file.read_bytes(), base=base, chunks=a.chunks, on_progress=Stages().update)
        (folder / "report.json").write_text(json.dumps(report.to_dict(), indent=1) + "\n")
    made_from = {
        "model": file_name(a.model),
        "test text": a.file.name,
        "calibration text": a.calibration.name if a.calibration else "benchmarks/alice.txt and Python's pydoc_data",
        "calibration sha256": hashlib.sha256(calibration).hexdigest(),
        "calibration chunks": str(a.calibration_chunks),
        "command": shlex.join(["python", "benchmarks/dynamicgate.py", *map(file_name, sys.argv[1:])]),
    }
    a.out.write_text(document(report, made_from))
    say(f"wrote {a.out}")


if __name__ == "__main__":
    main()
