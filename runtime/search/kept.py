"""What a search keeps between runs, by content: encoded tensors within a bound of bytes, and what was measured.

A killed search goes on from what is kept, and another size takes of it what it shares. Each piece has a file whose name
is a digest of all that decides about its content, written whole or not at all; so several searches may share a folder.
A file that does not hold what its name says is made anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from subbyte.errors import FileExists, FormatError, ModelNotFound, ResourceError
from subbyte.runtime.files import FileKind, UnfitFile, atomic_write, read_regular, write_failure
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.shard import DEFAULT_ALIGNMENT, MAGIC, Shard
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.gguf.values import STRING, MetadataValue
from subbyte.runtime.gguf.writer import Layout, lay_out
from subbyte.runtime.quantize.encode import Encoder
from subbyte.runtime.search.groups import Group
from subbyte.runtime.text import printable

_TENSOR = FileKind("an encoded tensor", lambda head: head.startswith(MAGIC))
_FIGURES = FileKind("measured figures", lambda head: head.startswith(b"["))
_MAX_FIGURES = 1 << 16  # bytes of a file of them
_TENSOR_NAME = re.compile(r"[0-9a-f]{64}\.tensor")
_TEMPORARY_NAME = re.compile(r"\.[0-9a-f]{48}\.[0-9a-f]{8}")
_ABANDONED = 3600.0  # seconds after which whoever wrote to a temporary file is no more
_SHA256 = "subbyte.sha256"  # of a tensor's data, in its file


def digest_of(*facts: object) -> str:
    """A name for what these facts decide about, as long as they have the same text."""
    return hashlib.sha256("\0".join(map(repr, facts)).encode()).hexdigest()


def model_digest(gguf: GGUF) -> str:
    """Of a model's file, and of the metadata that was given in place of its own."""
    return digest_of(gguf.digest(), sorted(gguf.override_kv.items())) if gguf.override_kv else gguf.digest()


class KeptFigures:
    """Lists of numbers by digest. Raises ResourceError where they can't be written; what can't be read is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "figures"
        make_folder(self._folder)

    def get(self, digest: str) -> list[float] | None:
        """The numbers kept under this digest."""
        try:
            values = json.loads(read_regular(self._path(digest), _MAX_FIGURES))
        except (OSError, UnfitFile, ValueError, RecursionError):
            return None
        sound = isinstance(values, list) and all(type(v) in (int, float) and math.isfinite(v) for v in values)
        return [float(value) for value in values] if sound else None

    def put(self, digest: str, values: Sequence[float]) -> None:
        """Keeps finite numbers."""
        with _written(self._path(digest), _FIGURES) as temporary:
            temporary.write_text(json.dumps(list(values)))

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"


class EncodedTensors:
    """Tensors of a model in other types, encoded when they are first asked for, and kept as files of one tensor each.

    gguf: the model. max_bytes: of all files in the folder; those that were asked for longest ago go first. One that is
    in use stays readable until it is let go of.
    """

    def __init__(self, folder: Path, max_bytes: int, gguf: GGUF, encoder: Encoder) -> None:
        self._folder, self._max_bytes = folder / "tensors", max_bytes
        self._gguf, self._model_digest, self._encoder = gguf, gguf.digest(), encoder
        self._open: dict[tuple[str, str], TensorInfo] = {}
        self._digests: dict[tuple[str, str], str] = {}
        make_folder(self._folder)

    def digest(self, group: Group, type: str) -> str:
        """Of the encoded tensor's bytes, by what they are made of."""
        key = group.name, type
        if key not in self._digests:
            importances = b"" if group.importances is None else group.importances.tobytes()
            facts = self._model_digest, group.name, group.tensor.shape, type, hashlib.sha256(importances).hexdigest()
            self._digests[key] = digest_of(*facts, version("libgguf"))
        return self._digests[key]

    def get(self, group: Group, type: str) -> TensorInfo:
        """The tensor in this type. Raises as `Encoder.encode`, ModelChanged and ResourceError."""
        if type == group.tensor.type:
            return group.tensor
        key = group.name, type
        if key not in self._open:
            path = self._folder / f"{self.digest(group, type)}.tensor"
            found = self._read(path, group, type)
            if found is None:
                self._write(path, group, type)
                found = self._read(path, group, type)
            if found is None:
                raise ResourceError(f"{printable(str(path))}: was changed by another program; give another folder")
            self._open[key] = found
        return self._open[key]

    def release(self) -> None:
        """Lets go of all that was asked for, so that the space of files that had to go is free."""
        self._open.clear()

    def _read(self, path: Path, group: Group, type: str) -> TensorInfo | None:
        try:
            shard = Shard(path)
            os.utime(path)
        except (FormatError, ModelNotFound, OSError):
            return None
        tensor = shard.tensors.get(group.name)
        if tensor is None or (tensor.type, tensor.shape) != (type, group.tensor.shape) or _SHA256 not in shard.metadata:
            return None
        return tensor if shard.metadata[_SHA256] == hashlib.sha256(tensor.data).hexdigest() else None

    def _write(self, path: Path, group: Group, type: str) -> None:
        found = hashlib.sha256()
        layout = _layout(group, type, found.hexdigest())
        self._make_room(layout.end)
        with _written(path, _TENSOR) as temporary, temporary.open("wb") as file:
            file.write(layout.head)
            for piece in self._encoder.encode(group.tensor, type, group.importances):
                file.write(piece)
                found.update(piece)
            file.write(bytes(layout.end - file.tell()))
            file.seek(0)
            file.write(_layout(group, type, found.hexdigest()).head)
            self._gguf.check_unchanged()

    def _make_room(self, n_bytes: int) -> None:
        """Removes what is too much, and what searches that were killed have left."""
        kept = []
        for path in self._folder.iterdir():
            try:
                status = path.stat()
            except OSError:  # another search removed it
                continue
            if _TENSOR_NAME.fullmatch(path.name):
                kept.append((status.st_mtime_ns, status.st_size, path))
            elif _TEMPORARY_NAME.fullmatch(path.name) and time.time() - status.st_mtime > _ABANDONED:
                path.unlink(missing_ok=True)
        total = n_bytes + sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def _layout(group: Group, type: str, sha256: str) -> Layout:
    """The file of one tensor, and of the digest of its data."""
    metadata = {_SHA256: MetadataValue(STRING, sha256.encode())}
    return lay_out(metadata, [(group.name, group.tensor.shape, type, group.n_bytes[type])], DEFAULT_ALIGNMENT)


@contextmanager
def _written(path: Path, kind: FileKind) -> Iterator[Path]:
    """As `atomic_write`, over whatever is there: one that another search has written meanwhile is as good."""
    try:
        path.unlink(missing_ok=True)
        with suppress(FileExists), atomic_write(path, kind, overwrite=True) as temporary:
            yield temporary
    except OSError as error:
        raise write_failure(path, error) from error


def make_folder(folder: Path) -> None:
    """Raises ResourceError where it can't be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        name = printable(str(folder))
        raise ResourceError(f"{name}: can't be made: {error.strerror or error}; give another folder") from None
