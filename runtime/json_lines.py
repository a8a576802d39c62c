"""Lines of JSON (JSON Lines): the form of conversations, questions and cases that are measured, and of a batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class JsonLine(NamedTuple):
    """A line, which counts from 1, what is in it without the white space around, and what that says."""

    number: int
    data: bytes
    value: object


def json_lines(data: bytes, of: str = "") -> Iterator[JsonLine]:
    """The lines that are not blank. of: what the text is, for the ValueError that names the line that is no JSON."""
    for number, line in enumerate(data.removeprefix(_BYTE_ORDER_MARK).splitlines(), 1):
        if line := line.strip():
            try:
                yield JsonLine(number, line, parse_line(line))
            except ValueError as error:
                raise ValueError(f"{of}line {number}: {error}") from None


def parse_line(line: bytes) -> object:
    """What a line says. Raises ValueError, also for one that is nested too deeply."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
