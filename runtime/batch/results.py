"""The results of a batch in a file of JSON lines, to which each is added as it comes, and which a later run goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import IO, Any, NoReturn

from subbyte.errors import FileExists, SubbyteError
from subbyte.runtime.files import try_lock, write_failure
from subbyte.runtime.model import Model
from subbyte.runtime.text import printable

MAX_LINE = 1 << 26  # bytes of a line that is read: the longest context is a few million tokens


def model_facts(model: Model) -> dict[str, Any]:
    """What tells a model from others, by content: a copy is the same, other metadata in place of the file's are not."""
    return {"sha256": model.gguf.digest(), "override_kv": dict(sorted(model.gguf.override_kv.items()))}


def line_digest(conditions: bytes, line: bytes) -> str:
    """What tells a result from others where a run goes on: its line of the input, and all else that decides it."""
    return hashlib.sha256(conditions + b"\n" + line.strip()).hexdigest()[:16]


def json_line(row: Mapping[str, Any]) -> str:
    """A result as a line of strict JSON, in ASCII; a number that JSON has no word for becomes null."""
    return json.dumps(json.loads(json.dumps(row), parse_constant=lambda _: None))


class ResultsFile:
    """Results of a batch in a file; a context manager. done: the indices of the lines that have one by now.

    digests: the `line_digest` of each line of the input, by index. Raises SubbyteError for a file that holds results of
    another run or something else, which stays as it is; FileExists while another run writes it; ResourceError. A last
    line that was cut is dropped.
    """

    def __init__(self, path: str | os.PathLike[str], digests: Mapping[int, str]) -> None:
        self._path, self._name = Path(path), printable(str(path))
        self._digests = digests
        try:
            self._file: IO[bytes] = self._path.open("a+b")
        except OSError as error:
            raise write_failure(path, error) from None
        try:
            if not try_lock(self._file):
                raise FileExists(f"{self._name}: another run writes it; give another place, or wait for its end")
            self.done: Collection[int] = self._read()
        except BaseException:
            self._file.close()
            raise

    def head(self, index: int) -> dict[str, Any]:
        """What a result of a line begins with, by which it is known again."""
        return {"index": index, "line": self._digests[index]}

    def rows(self) -> Iterator[dict[str, Any]]:
        """The results that are there by now, as they were added."""
        with self._path.open("rb") as file:
            yield from map(json.loads, file)

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a result. Raises ResourceError."""
        try:
            self._file.write(json_line(row).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise write_failure(self._path, error) from None

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read(self) -> set[int]:
        """The indices of the results, each checked as it is read; nothing is written before all were."""
        self._file.seek(0)
        done: set[int] = set()
        end = 0  # of the last whole line
        for number in count(1):
            line = self._file.readline(MAX_LINE)
            if not line.endswith(b"\n"):
                break
            done.add(self._index(number, line))
            end += len(line)
        if len(line) == MAX_LINE or (line and not end and not self._begins_a_result(line)):
            self._refuse(number)
        if line:
            self._file.truncate(end)
        return done

    def _index(self, number: int, row: bytes) -> int:
        try:
            result = json.loads(row)
            index, digest = result["index"], result["line"]
        except (ValueError, KeyError, TypeError, RecursionError):
            self._refuse(number)
        if not isinstance(index, int) or index not in self._digests or self._digests[index] != digest:
            self._refuse(number)
        return int(index)

    def _begins_a_result(self, text: bytes) -> bool:
        heads = (json.dumps(self.head(index))[:-1].encode() for index in self._digests)
        return any(text.startswith(head) or head.startswith(text) for head in heads)

    def _refuse(self, number: int) -> NoReturn:
        raise SubbyteError(
            f"{self._name}: line {number} is no result of this input with this model and these options; "
            "give another place"
        )
