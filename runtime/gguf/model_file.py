"""Reads GGUF model files: one file or all shards of a split one, mapped read-only and checked before anything is used.

Structure only: sizes, types and extents are sound after `GGUF.open`; what the values mean is checked by who uses them.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from subbyte.errors import FormatError, ModelNotFound, SubbyteError
from subbyte.runtime import arguments
from subbyte.runtime.gguf.metadata import ArraySpan, Metadata
from subbyte.runtime.gguf.override import override
from subbyte.runtime.gguf.shard import Shard
from subbyte.runtime.gguf.tensors import TensorInfo
from subbyte.runtime.handles import Handle
from subbyte.runtime.text import printable, quoted

__all__ = ["GGUF", "ArraySpan", "Metadata", "TensorInfo"]

_SHARD_NAME = re.compile(r"(?P<prefix>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.DOTALL)
MAX_SHARDS = 65_535
ALIKE = ("split.tensors.count", "general.architecture", "general.name")  # in all files of a model that have them
_MAX_SHOWN = 3
_DIGESTED = 1 << 10  # bytes of each tensor


class GGUF(Handle):
    """One model: a file, or all shards of a split one, mapped read-only.

    A context manager, which raises ModelChanged at its end if a file was cut short and what was cut off was read.

    path:     as given to `open`
    version:  of the format, 2 or 3
    size:     bytes of all files
    paths:    of all its files
    files:    their names as messages show them
    identity: bytes, time of the last change and inode of each of them
    metadata: keys and values; of a split model those of the first shard
    override_kv: what was given in place of the file's metadata
    tensors:  by name, in the order of the files
    """

    instead = "open it again from its path"

    def __init__(
        self, path: Path, shards: list[Shard], override_kv: Mapping[str, int | float | bool | str] | None = None
    ) -> None:
        self.path, self._shards = path, shards
        self.version, self.size = shards[0].version, sum(shard.size for shard in shards)
        self.paths = tuple(shard.path for shard in shards)
        self.files = tuple(shard.file for shard in shards)
        self.identity = tuple(shard.identity for shard in shards)
        self.override_kv = dict(override_kv or {})
        self._metadata: Metadata | None = override(shards[0].metadata, self.override_kv)
        self._tensors: Mapping[str, TensorInfo] | None = MappingProxyType(_join_tensors(shards))

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, override_kv: Mapping[str, int | float | bool | str] | None = None
    ) -> GGUF:
        """Maps a GGUF file; any shard of a split model opens all of it.

        override_kv: values of metadata that count in place of the file's; ValueError for what can't be one.
        Raises FormatError (broken bytes or not GGUF), UnsupportedError (version, byte order, block type), ModelNotFound
        (no such file, a shard is missing) and ResourceError (can't be read or mapped).
        """
        path = Path(arguments.path("path", path))
        if override_kv is not None:
            override_kv = arguments.mapping("override_kv", override_kv)
        given = Shard(path)
        paths = _shard_paths(given)
        shards = [given if each == path else Shard(each) for each in paths]
        if len(shards) > 1:
            _check_shards(shards)
        return cls(path, shards, override_kv)

    @property
    def metadata(self) -> Metadata:
        """The model's metadata; raises SubbyteError after `close`."""
        if self._metadata is None:
            raise self._closed()
        return self._metadata

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """The tensors by name; raises SubbyteError after `close`."""
        if self._tensors is None:
            raise self._closed()
        return self._tensors

    def repeated_in(self, key: str) -> str | None:
        """The name of a file of a split model, not the first, that has this key and must agree with the first on it."""
        return next((shard.file for shard in self._shards[1:] if key in ALIKE and key in shard.metadata), None)

    def check_unchanged(self) -> None:
        """Raises ModelChanged when a file was written to or cut since it was opened; about a microsecond a file.

        A file that was deleted or replaced by another of the same name is no change: the map still holds the old one.
        """
        if self._tensors is None:
            raise self._closed()
        for shard in self._shards:
            shard.check_unchanged()

    def check_readable(self) -> None:
        """Raises ModelChanged when what was read of a file, by any thread, had been cut off; see `Shard`."""
        for shard in self._shards:
            shard.check_readable()

    def digest(self) -> str:
        """sha256 of what tells a model from others: metadata, tensor table and the first bytes of each tensor.

        Not of all its data, which would take as long as reading the files. Raises ModelChanged.
        """
        digest = hashlib.sha256()
        for shard in self._shards:
            digest.update(shard.header())
        for tensor in self.tensors.values():
            digest.update(tensor.data[:_DIGESTED])
        self.check_readable()
        return digest.hexdigest()

    def close(self) -> None:
        """Lets go of the files.

        Views of tensor data still held elsewhere stay valid; the map goes with the last of them.
        """
        for shard in self._shards:
            shard.close()
        self._metadata, self._tensors, self._shards = None, None, []

    def __enter__(self) -> GGUF:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.check_readable()
        finally:
            self.close()

    def _closed(self) -> SubbyteError:
        return SubbyteError(f"{printable(str(self.path))}: was closed; open it again")


def shard_name(prefix: str, number: int, count: int) -> str:
    """The file name of a part of a split model, counted from 1, as llama.cpp wants it."""
    return f"{prefix}-{number:05}-of-{count:05}.gguf"


def _shard_paths(given: Shard) -> list[Path]:
    """The paths of all shards of the model that one of them belongs to; its own alone when it is not split."""
    place = _place(given)
    if place is None:
        return [given.path]
    number, count = place
    match = _SHARD_NAME.fullmatch(given.path.name)
    if match is None or (int(match["number"]), int(match["count"])) != place:
        wanted = shard_name("PREFIX", number, count)
        raise FormatError(f"{given.file}: is part {number} of {count} of a split model; name the parts {wanted}")
    paths = [given.path.with_name(shard_name(match["prefix"], i, count)) for i in range(1, count + 1)]
    missing = list(islice((printable(path.name) for path in paths if not os.path.exists(path)), _MAX_SHOWN))
    if missing:
        names = ", ".join(missing) + (" and maybe more" if len(missing) == _MAX_SHOWN else "")
        found = f"is part {number} of {count}, missing: {names}"
        raise ModelNotFound(f"{given.file}: {found}; fetch all parts into one folder")
    return paths


def _place(shard: Shard) -> tuple[int, int] | None:
    """Which shard it says it is, counted from 1, and of how many; None for a model in one file.

    That may be of 0 parts: so llama-gguf-split leaves what it has merged.
    """
    count = shard.metadata.u32("split.count", 1, hi=MAX_SHARDS)
    return (shard.metadata.u32("split.no", hi=count - 1) + 1, count) if count > 1 else None


def _check_shards(shards: list[Shard]) -> None:
    """Refuses shards that say they are another one, or of another model than the first."""
    first = shards[0].metadata
    for i, shard in enumerate(shards):
        place = _place(shard)
        if place != (i + 1, len(shards)):
            found = "says it is part {} of {}".format(*place) if place else "is no part of a split model"
            raise FormatError(f"{shard.file}: {found}; its name says {i + 1} of {len(shards)}: fetch the right part")
        for key in ALIKE:
            own = shard.metadata
            if key in own and key in first and own[key] != first[key]:
                raise _foreign_shard(shard, key, shards[0])
    total, n_tensors = first.u32("split.tensors.count"), sum(len(shard.tensors) for shard in shards)
    if total != n_tensors:
        raise FormatError(
            f"{shards[0].file}: 'split.tensors.count' is {total}, the {len(shards)} parts hold {n_tensors} tensors; "
            "a part is of another model: fetch all parts again"
        )


def _foreign_shard(shard: Shard, key: str, first: Shard) -> FormatError:
    found, wanted = (quoted(str(each.metadata[key])) for each in (shard, first))
    return FormatError(
        f"{shard.file}: metadata '{key}' is {found}, in {first.path.name} it is {wanted}; "
        "the part is of another model: fetch it again"
    )


def _join_tensors(shards: list[Shard]) -> dict[str, TensorInfo]:
    tensors: dict[str, TensorInfo] = {}
    for shard in shards:
        twice = next((name for name in shard.tensors if name in tensors), None)
        if twice is not None:
            earlier = next(other for other in shards if twice in other.tensors)
            found = f"tensor {quoted(twice)} is also in {printable(earlier.path.name)}"
            raise FormatError(f"{shard.file}: {found}; one of the two is of another model: fetch all parts again")
        tensors.update(shard.tensors)
    return tensors
