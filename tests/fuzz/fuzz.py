"""Fuzzes the parsers with atheris: python tests/fuzz/fuzz.py [--seconds 40] [--jobs 2] [TARGET ...]; default: all.

`make fuzz` runs it on subbyte built with AddressSanitizer and UndefinedBehaviorSanitizer. Each target has a process of
its own and begins with its seeds and with what broke it before. An input that breaks it now is written to
tests/fuzz/corpus/TARGET/, where ordinary tests go on trying it. A run is a line of tests/fuzz/ledger.csv.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from subbyte.kernels import _native

HERE = Path(__file__).resolve().parent
CORPUS, LEDGER = HERE / "corpus", HERE / "ledger.csv"
COLUMNS = ("date", "commit", "sanitizers", "target", "seconds", "executions", "edges", "broken")
LONGEST = 1 << 16  # bytes of an input
MARKS = {"address": b"__asan_init", "undefined": b"__ubsan_handle"}  # what a compiled module with a sanitizer has

# Memory is bounded as that of the process that renders templates: what takes more must end in an error.
ONE = """
import resource, sys
sys.path[:0] = {paths!r}
import atheris
with atheris.instrument_imports(include=["subbyte"]):
    import targets
atheris.Setup(sys.argv, lambda data: targets.run({name!r}, data))
taken = int(open("/proc/self/status").read().split("VmData:")[1].split()[0]) << 10
resource.setrlimit(resource.RLIMIT_DATA, (taken + (512 << 20),) * 2)
atheris.Fuzz()
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent / "support"), str(HERE.parent / "hostile")]
    from targets import TARGETS

    names = arguments.targets or list(TARGETS)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        env = _with_coverage(Path(folder)) if "address" in sanitizers() else dict(os.environ)
        rows = list(pool.map(partial(fuzz, seconds=arguments.seconds, env=env), names))
    _write(rows)
    return int(any(row["broken"] for row in rows))


def sanitizers() -> list[str]:
    """Those that subbyte was built with."""
    return [name for name, mark in MARKS.items() if mark in Path(_native.__file__).read_bytes()]


def _with_coverage(folder: Path) -> dict[str, str]:
    """The environment in which libFuzzer gets its coverage though libasan is loaded before it."""
    library = folder / "coverage.so"
    env = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    compiler = shlex.split(os.environ.get("CC", "cc"))
    subprocess.run([*compiler, "-shared", "-fPIC", HERE / "coverage.c", "-o", library, "-ldl"], env=env, check=True)
    preload = f"{library} {os.environ['LD_PRELOAD']}"
    options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    spec = find_spec("atheris.core_with_libfuzzer")
    assert spec is not None and spec.origin is not None
    return {**env, "LD_PRELOAD": preload, "ASAN_OPTIONS": options, "LIBFUZZER": spec.origin}


def fuzz(name: str, seconds: int, env: dict[str, str]) -> dict[str, object]:
    """Runs one target; its line of the ledger."""
    from targets import TARGETS

    broken = CORPUS / name
    broken.mkdir(parents=True, exist_ok=True)
    before = set(broken.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        for i, seed in enumerate(TARGETS[name].seeds()):
            (Path(folder) / f"seed{i}").write_bytes(seed)
        code = ONE.format(paths=sys.path[:3], name=name)
        limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-rss_limit_mb=4096", "-timeout=20"]
        command = [sys.executable, "-c", code, *limits, "-print_final_stats=1", f"-artifact_prefix={broken}/", folder]
        done = subprocess.run(
            [*command, str(broken)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=env
        )
    found = set(broken.iterdir()) - before
    counts = re.findall(r"stat::number_of_executed_units: (\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    if found or done.returncode:
        print(f"{name}: {', '.join(map(str, found)) or done.returncode}\n{done.stderr[-3000:]}", file=sys.stderr)
    row = {
        "target": name, "seconds": seconds, "executions": int(counts[-1]) if counts else 0,
        "edges": int(edges[-1]) if edges else 0, "broken": len(found) or int(done.returncode != 0),
    }  # fmt: skip
    print(f"{name}: {row['executions']} inputs, {row['edges']} edges, {row['broken']} broken it", file=sys.stderr)
    return row


def _write(rows: list[dict[str, object]]) -> None:
    new = not LEDGER.exists()
    head = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True)
    with LEDGER.open("a", newline="") as file:
        out = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            out.writeheader()
        built = ", ".join(sanitizers()) or "none"
        about = {"date": date.today().isoformat(), "commit": head.stdout.strip(), "sanitizers": built}
        out.writerows({**about, **row} for row in rows)


if __name__ == "__main__":
    sys.exit(main())
