"""The results of a batch in a file of JSON lines, to which each is added as it comes, and which a later run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from subbyte.errors import FileExists, ResourceError, SubbyteError
from subbyte.runtime.batch.batch import line_digest
from subbyte.runtime.files import try_lock, write_failure
from subbyte.runtime.text import printable

MAX_BYTES = 1 << 34  # of a file that is read


def json_line(row: Mapping[str, Any]) -> str:
    """A result as a line of strict JSON, in ASCII; a number that JSON has no word for becomes null."""
    return json.dumps(json.loads(json.dumps(row), parse_constant=lambda _: None))


class ResultsFile:
    """Results of a batch in a file; a context manager. done: the indices of the lines that have one by now.

    lines: of the input, by index. Raises SubbyteError for a file that holds results of other lines or something else,
    which stays as it is; FileExists while another run writes it; ResourceError. A last line that was cut is dropped.
    """

    def __init__(self, path: str | os.PathLike[str], lines: Mapping[int, bytes]) -> None:
        self._path, self._name = Path(path), printable(str(path))
        self._lines = lines
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
        return {"index": index, "line": line_digest(self._lines[index])}

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
        self._file.seek(0)
        content = self._file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ResourceError(f"{self._name}: over {MAX_BYTES >> 30} GiB; give another place")
        whole = content[: content.rfind(b"\n") + 1]
        rows = whole.split(b"\n")[:-1]
        done = {self._index(number, row) for number, row in enumerate(rows, 1)}
        if content and not rows:
            self._refuse(1)
        if len(whole) < len(content):
            os.truncate(self._path, len(whole))
        return done

    def _index(self, number: int, row: bytes) -> int:
        try:
            result = json.loads(row)
            index, digest = result["index"], result["line"]
        except (ValueError, KeyError, TypeError, RecursionError):
            self._refuse(number)
        if not isinstance(index, int) or index not in self._lines or self.head(index)["line"] != digest:
            self._refuse(number)
        return int(index)

    def _refuse(self, number: int) -> None:
        raise SubbyteError(f"{self._name}: line {number} is no result of this input; give another place")
