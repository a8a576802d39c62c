"""What a search keeps between runs, by content: encoded tensors within a bound of bytes, and what was measured.

A killed search goes on from what is kept, and another size takes of it what it shares. Each piece has a file whose name
is a digest of all that decides about its content, written whole or not at all; so several searches may share a folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from subbyte.errors import FormatError, ModelNotFound, ResourceError
from subbyte.runtime.files import FileKind, UnfitFile, atomic_write, read_regular, write_failure
from subbyte.runtime.gguf.shard import DEFAULT_ALIGNMENT, MAGIC, Shard
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.gguf.writer import lay_out
from subbyte.runtime.quantize.encode import Encoder
from subbyte.runtime.search.groups import Group
from subbyte.runtime.text import printable

_log = logging.getLogger(__name__)
_TENSOR = FileKind("an encoded tensor", lambda head: head.startswith(MAGIC))
_FIGURES = FileKind("measured figures", lambda head: head.startswith(b"["))
_MAX_FIGURES = 1 << 16  # bytes of a file of them
_SUFFIX = ".tensor"


def digest_of(*facts: object) -> str:
    """A name for what these facts decide about, as long as they have the same text."""
    return hashlib.sha256("\0".join(map(repr, facts)).encode()).hexdigest()


class KeptFigures:
    """Lists of numbers by digest. Raises ResourceError where they can't be written; what can't be read is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "figures"
        _make(self._folder)

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
        path = self._path(digest)
        try:
            with atomic_write(path, _FIGURES, overwrite=True) as temporary:
                temporary.write_text(json.dumps(list(values)))
        except OSError as error:
            raise write_failure(path, error) from error

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"


class EncodedTensors:
    """Tensors of a model in other types, encoded when they are first asked for, and kept as files of one tensor each.

    max_bytes: of all files in the folder; those that were asked for longest ago go first. One that is in use stays
    readable until it is let go of.
    """

    def __init__(self, folder: Path, max_bytes: int, model_digest: str, encoder: Encoder) -> None:
        self._folder, self._max_bytes = folder / "tensors", max_bytes
        self._model_digest, self._encoder = model_digest, encoder
        self._open: dict[tuple[str, str], TensorInfo] = {}
        self._digests: dict[tuple[str, str], str] = {}
        _make(self._folder)

    def digest(self, group: Group, type: str) -> str:
        """Of the encoded tensor's bytes, by what they are made of."""
        key = group.name, type
        if key not in self._digests:
            importances = b"" if group.importances is None else group.importances.tobytes()
            facts = self._model_digest, group.name, group.tensor.shape, type, hashlib.sha256(importances).hexdigest()
            self._digests[key] = digest_of(*facts, version("libgguf"))
        return self._digests[key]

    def get(self, group: Group, type: str) -> TensorInfo:
        """The tensor in this type. Raises as `Encoder.encode`, and ResourceError."""
        if type == group.tensor.type:
            return group.tensor
        key = group.name, type
        if key not in self._open:
            path = self._folder / f"{self.digest(group, type)}{_SUFFIX}"
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
        sound = tensor is not None and (tensor.type, tensor.shape) == (type, group.tensor.shape)
        return tensor if sound else None

    def _write(self, path: Path, group: Group, type: str) -> None:
        n_bytes = group.n_bytes[type]
        self._make_room(n_bytes)
        layout = lay_out({}, [(group.name, group.tensor.shape, type, n_bytes)], DEFAULT_ALIGNMENT)
        try:
            with atomic_write(path, _TENSOR, overwrite=True) as temporary, temporary.open("wb") as file:
                file.write(layout.head)
                for piece in self._encoder.encode(group.tensor, type, group.importances):
                    file.write(piece)
                file.write(bytes(layout.end - file.tell()))
        except OSError as error:
            raise write_failure(path, error) from error

    def _make_room(self, n_bytes: int) -> None:
        kept = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            try:
                status = path.stat()
            except OSError:  # another search removed it
                continue
            kept.append((status.st_mtime_ns, status.st_size, path))
        total = n_bytes + sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        name = printable(str(folder))
        raise ResourceError(f"{name}: can't be made: {error.strerror or error}; give another folder") from None
