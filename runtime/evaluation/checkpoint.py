"""A measurement's figures so far, in a file, so that a run that was interrupted or killed goes on where it stopped.

The first line, JSON, says what is measured; each further line is a record, lists of numbers: the figures of one chunk,
or the sums over all so far. Numbers are written so that they are read back as they were: a resumed run ends with the
figures of one that was never interrupted. A line that was cut short is dropped.

Whoever mistypes a path must not lose a file. So nothing is opened for writing before its first line was read and is
that of this measurement, and nothing is written once the file is no longer what was read.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np

from subbyte.errors import ResourceError, SubbyteError
from subbyte.runtime.evaluation.corpus import Corpus
from subbyte.runtime.evaluation.options import EvalOptions
from subbyte.runtime.evaluation.statistics import Floats
from subbyte.runtime.files import FileKind, atomic_write, open_regular, try_lock
from subbyte.runtime.model import Model
from subbyte.runtime.text import printable, quoted

Figures: TypeAlias = Sequence[Floats]
"""Of one record: arrays of fixed shapes."""

_FORMAT, _VERSION = "subbyte-", 3
_MARK = json.dumps({"format": _FORMAT}).encode()[:-2]  # what the first line begins with
CHECKPOINT = FileKind("a checkpoint", lambda head: head.startswith(_MARK))
_MAX_HEADER = 1 << 20  # bytes
_NUMBER_BYTES = 32  # that a number takes at most, with what is between it and the next
_OTHER = "give another file"


class Checkpoint:
    """The file of one run; records: what it held when it was opened, at most n_records. Raises SubbyteError.

    of: the measurement, as its command is named. conditions: all that must be the same for its figures to be of use;
    see `conditions_of`. shapes: of a record's arrays, by the record's index. is_sound: whether these can be what was
    measured.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        of: str,
        conditions: Mapping[str, Any],
        shapes: Callable[[int], Sequence[tuple[int, ...]]],
        n_records: int,
        is_sound: Callable[[Figures], bool],
    ) -> None:
        self.path, self._shapes, self._is_sound = Path(path), shapes, is_sound
        self._name = printable(str(self.path))
        self._header = {"format": _FORMAT + of, "version": _VERSION, **conditions}
        self._head = _line(self._header)
        self.records: list[list[Floats]] = []
        self._end = 0  # of the last whole line
        self._identity: tuple[int, ...] = ()  # of the file as it was last read or written
        try:
            with self._opened() as file:
                self._read(file, n_records)
        except OSError as error:
            raise ResourceError(f"{self._name}: can't be read: {error.strerror or error}; {_OTHER}") from None
        if not self._end:
            self._append(self._head)

    def add(self, figures: Figures) -> None:
        """One record more."""
        self._append(_line([array.tolist() for array in figures]))

    def replace(self, figures: Figures) -> None:
        """A record in place of those that are there; they stay until it is written."""
        try:
            with self._opened_for_writing(), atomic_write(self.path, CHECKPOINT, overwrite=True) as temporary:
                temporary.write_bytes(self._head + _line([array.tolist() for array in figures]))
            with self.path.open("rb") as file:
                self._identity = _identity(file)
        except OSError as error:
            self._cannot_write(error)

    def refuse(self, reason: str) -> NoReturn:
        """Raises the error of a file that is a checkpoint, but of no use here."""
        raise SubbyteError(f"{self._name}: {reason}; {_OTHER}")

    def _opened(self) -> BufferedReader:
        """For reading; made if there is none."""
        try:
            return BufferedReader(open_regular(self.path))
        except FileNotFoundError:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return BufferedReader(open_regular(self.path))

    def _read(self, file: BufferedReader, n_records: int) -> None:
        self._identity = _identity(file)
        head = file.readline(_MAX_HEADER)
        if not head or (CHECKPOINT.is_head(head) and self._head.startswith(head) and head != self._head):
            return  # empty, or the run was killed in its first write
        self._check_header(head)
        self._head, self._end = head, len(head)
        while len(self.records) < n_records:
            shapes = self._shapes(len(self.records))
            limit = _NUMBER_BYTES * (1 + len(shapes) + sum(map(math.prod, shapes)))
            line, number = file.readline(limit), len(self.records) + 2
            if not line.endswith(b"\n"):
                if len(line) == limit:
                    self._damaged(number)
                return
            self.records.append(self._parse(line, number, shapes))
            self._end += len(line)

    def _check_header(self, head: bytes) -> None:
        try:
            theirs = json.loads(head) if head.endswith(b"\n") else None
        except (ValueError, RecursionError):
            theirs = None
        kind = theirs.get("format") if isinstance(theirs, dict) else None
        if not isinstance(theirs, dict) or not isinstance(kind, str) or not kind.startswith(_FORMAT):
            self.refuse("is no checkpoint of a measurement")
        ours = self._header
        if kind != ours["format"]:
            self.refuse(f"is a checkpoint of {quoted(kind)}, {ours['format']!r} is needed")
        if theirs.get("version") != _VERSION:
            self.refuse(f"is a checkpoint of version {_told(theirs.get('version'))}, {_VERSION} is needed")
        if found := difference(theirs, ours, "there", "here"):
            self.refuse(f"is of another run ({found})")

    def _parse(self, line: bytes, number: int, shapes: Sequence[tuple[int, ...]]) -> list[Floats]:
        try:
            values = json.loads(line, parse_constant=_no_number)
            if not isinstance(values, list) or len(values) != len(shapes):
                raise ValueError(values)
            figures = [_array(value, shape) for value, shape in zip(values, shapes, strict=True)]
        except (ValueError, OverflowError, RecursionError):
            self._damaged(number)
        if not self._is_sound(figures):
            self._damaged(number)
        return figures

    def _damaged(self, number: int) -> NoReturn:
        self.refuse(f"line {number} does not hold figures of this run, the file is damaged")

    def _append(self, data: bytes) -> None:
        """Writes behind the last whole line."""
        try:
            with self._opened_for_writing() as file:
                file.truncate(self._end)
                file.seek(self._end)
                file.write(data)
                file.flush()
                self._identity = _identity(file)
        except OSError as error:
            self._cannot_write(error)
        self._end += len(data)

    def _opened_for_writing(self) -> BufferedRandom:
        """The file, if it is still what was read; locked until it is closed."""
        file = open(os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), "r+b")
        if _identity(file) != self._identity or not try_lock(file):
            file.close()
            self.refuse("was changed meanwhile, maybe by another run")
        return file

    def _cannot_write(self, error: OSError) -> NoReturn:
        raise ResourceError(f"{self._name}: can't be written: {error.strerror or error}; {_OTHER}") from None


def conditions_of(
    models: Mapping[str, Model], corpus: Corpus, options: EvalOptions, **others: bool | str
) -> dict[str, object]:
    """What figures of another run must share with those of this one to be part of it.

    models: by what they are to the measurement. Files are compared by content: a copy, or one that was touched, is the
    same; metadata given in place of a file's counts beside it. others: conditions of the measurement's own.
    """
    return {
        "n_ctx": corpus.n_ctx, "stride": corpus.stride, "cache_type": options.cache_type,
        "activations": options.activations, "special": options.special, **others, "number of texts": len(corpus.names),
        "files of conversations": corpus.n_conversations,
        "the text's sha256": corpus.sha256,
        "the first chunk's sha256": hashlib.sha256(corpus.chunks[0].tokens.astype("<i4").tobytes()).hexdigest(),
        **model_conditions(models),
    }  # fmt: skip


def model_conditions(models: Mapping[str, Model]) -> dict[str, object]:
    """The part of `conditions_of` that tells the models, by what they are to the measurement."""
    return {
        **{role: file_facts(model.path, model.gguf.size, model.gguf.digest()) for role, model in models.items()},
        **{
            f"override_kv {key} of {role}": value
            for role, model in models.items()
            for key, value in sorted(model.gguf.override_kv.items())
        },
    }


def difference(a: Mapping[str, object], b: Mapping[str, object], of_a: str, of_b: str) -> str | None:
    """The first condition in which two runs differ, in words; None where figures of one are those of the other.

    of_a, of_b: where each is, as in "n_ctx is 64 there, 48 here".
    """
    for key in (*b, *a):
        left, right = a.get(key, _MISSING), b.get(key, _MISSING)
        if _compared(left) != _compared(right):
            return f"{printable(key)} is {_told(left)} {of_a}, {_told(right)} {of_b}"
    return None


def file_facts(path: Path, n_bytes: int, sha256: str) -> dict[str, object]:
    """A file among conditions; its name is there for the reader only."""
    return {"name": path.name, "bytes": n_bytes, "sha256": sha256}


_MISSING = object()


def _compared(value: object) -> object:
    return {key: of for key, of in value.items() if key != "name"} if isinstance(value, dict) else value


def _told(value: object) -> str:
    """A condition in a message."""
    if value is _MISSING:
        return "missing"
    if isinstance(value, dict) and all(isinstance(value.get(fact), int | str) for fact in ("name", "bytes", "sha256")):
        facts = f"{_told(value['bytes'])} bytes, sha256 {_told(value['sha256'])}"
        return f"{quoted(str(value['name']))} ({facts})"
    if isinstance(value, str):
        return quoted(value, 12)
    return "none" if value is None else quoted(str(value)).strip("'\"")


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _identity(file: BufferedReader | BufferedRandom) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _array(value: Any, shape: tuple[int, ...]) -> Floats:
    """Nested lists of finite numbers as an array; raises ValueError and OverflowError for others."""
    if not isinstance(value, list) or len(value) != shape[0]:
        raise ValueError(f"{shape[0]} values were expected")
    if len(shape) > 1:
        return np.array([_array(of, shape[1:]) for of in value])
    if not all(type(number) in (int, float) for number in value):
        raise ValueError("a value is no number")
    array = np.array(value, np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a value is not finite")
    return array
