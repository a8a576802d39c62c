"""A measurement's results so far, in a file, so that an interrupted run goes on where it stopped.

The first line, JSON, says what is measured; each further line holds one chunk's losses of every model. A line that was
cut by the interruption is dropped. Losses are written as float32 is computed, so that a resumed run ends with the same
figures as one that was never interrupted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ResourceError, SubbyteError

_FORMAT = "subbyte-perplexity"


class Checkpoint:
    """The file of one run; done: the losses of its chunks, of each model float64 [n]. Raises SubbyteError.

    identity: all that must be the same for its results to be of use. shape: models, and scored tokens of a chunk.
    """

    def __init__(self, path: str | os.PathLike[str], identity: Mapping[str, Any], shape: tuple[int, int]) -> None:
        self.path, self._shape = Path(path), shape
        header = {"format": _FORMAT, "version": 1, **identity}
        lines = self._read()
        if not lines:
            self._write(json.dumps(header) + "\n", "w")
        elif (theirs := self._parsed(lines[0])) != header:
            raise SubbyteError(f"{self.path}: of another run ({_difference(theirs, header)}); give another file")
        self.done: list[list[NDArray[np.float64]]] = [self._losses(line) for line in lines[1:]]

    def add(self, losses: Sequence[NDArray[np.float64]]) -> None:
        """One more chunk: of each model the losses of its tokens."""
        self._write(json.dumps([[float(f"{x:.9g}") for x in model] for model in losses]) + "\n", "a")

    def _read(self) -> list[str]:
        """The whole lines; what is behind the last one is cut off the file."""
        try:
            data = self.path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                os.truncate(self.path, len(whole))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ResourceError(f"{self.path}: can't be read: {error.strerror or error}") from None
        try:
            return whole.decode().splitlines()
        except ValueError:
            raise self._foreign() from None

    def _write(self, text: str, mode: str) -> None:
        try:
            with self.path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise ResourceError(f"{self.path}: can't be written: {error.strerror or error}") from None

    def _parsed(self, line: str) -> Any:
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            raise self._foreign() from None

    def _losses(self, line: str) -> list[NDArray[np.float64]]:
        try:
            losses = np.array(self._parsed(line), np.float32)
        except (TypeError, ValueError):
            raise self._foreign() from None
        if losses.shape != self._shape:
            raise self._foreign()
        return [*losses.astype(np.float64)]

    def _foreign(self) -> SubbyteError:
        return SubbyteError(f"{self.path}: no results of an interrupted run; give another file")


def _difference(theirs: Any, ours: Mapping[str, Any]) -> str:
    if not isinstance(theirs, dict) or theirs.get("format") != _FORMAT:
        return "it holds something else"
    key = next(key for key in (*ours, *theirs) if theirs.get(key) != ours.get(key))
    return f"{key} is {str(theirs.get(key))[:60]!r} there, {str(ours.get(key))[:60]!r} here"
