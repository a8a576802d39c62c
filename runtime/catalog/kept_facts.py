"""Facts of model files kept between runs, so that a list of a thousand models reads no header twice."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from subbyte.errors import SubbyteError
from subbyte.runtime.catalog.facts import Facts
from subbyte.runtime.files import FileKind, atomic_write, read_regular

_FORMAT = "subbyte model facts 1"
_MAX_BYTES = 64 << 20
_KIND = FileKind("a list of model facts", lambda head: _FORMAT.encode() in head)


class State(NamedTuple):
    """By which a file is known again: bytes, time of the last change and inode; of a link those of what it leads to."""

    size: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> State:
        """That of a file now; raises OSError."""
        status = os.stat(path)
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


@dataclass
class _File:
    """What the file holds, as JSON."""

    format: str = _FORMAT
    models: dict[str, tuple[State, Facts]] = field(default_factory=dict)


class KeptFacts:
    """Facts by path, read from a file and written to it again; whatever is wrong with the file, it is only slower."""

    def __init__(self, file: Path) -> None:
        self._file, self._changed = file, False
        self._models: dict[str, tuple[State, Facts]] = {}
        with suppress(OSError, RecursionError, msgspec.MsgspecError):
            content = msgspec.json.decode(read_regular(file, _MAX_BYTES), type=_File)
            if content.format == _FORMAT:
                self._models = content.models

    def get(self, path: Path, state: State) -> Facts | None:
        """What is kept of a file in that state."""
        kept = self._models.get(str(path))
        return kept[1] if kept is not None and kept[0] == state else None

    def put(self, path: Path, state: State, facts: Facts) -> None:
        """Keeps facts of a file, unless JSON can't hold its name."""
        if str(path).isprintable():
            self._models[str(path)] = state, facts
            self._changed = True

    def save(self, paths: Iterable[Path]) -> None:
        """Writes what is kept of these files if anything is new; the others are gone. Where it can't be, it is not."""
        here = {str(path) for path in paths}
        if not self._changed and here.issuperset(self._models):
            return
        models = {path: kept for path, kept in self._models.items() if path in here}
        with suppress(OSError, SubbyteError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._file, _KIND, overwrite=True) as temporary:
                temporary.write_bytes(msgspec.json.encode(_File(models=models)))
