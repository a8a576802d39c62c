"""What models are measured on: texts, and conversations."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeAlias

from subbyte.errors import ResourceError, SubbyteError
from subbyte.runtime import arguments
from subbyte.runtime.chat.messages import Message, begin_with
from subbyte.runtime.files import open_regular
from subbyte.runtime.json_lines import json_lines
from subbyte.runtime.text import printable
from subbyte.runtime.tools.tool import Tool, tools_by_name

MAX_BYTES = 1 << 30  # of a file of conversations


@dataclass(frozen=True)
class Conversation:
    """One conversation. line: where it is, counted from 1."""

    line: int
    system: str | None
    messages: Sequence[Message]
    tools: Sequence[Tool]


@dataclass(frozen=True)
class Conversations:
    """Conversations as lines of JSON, to be measured in the model's own chat template; see `perplexity`.

    A line is an object with `messages`, as OpenAI's API has them, and maybe `system` and `tools`, as for `subbyte
    batch`; other fields are of no account. Where tokens are scored, only the assistant's are, those that end its turns
    included.
    """

    data: bytes

    def __post_init__(self) -> None:
        data = arguments.raw_text("data", self.data)
        object.__setattr__(self, "data", data.encode("utf-8", "replace") if isinstance(data, str) else data)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any] | Sequence[Mapping[str, Any]]]) -> Conversations:
        """Conversations as objects with `messages`, or as lists of messages. Raises ValueError if they are no JSON."""
        lines = []
        for i, row in enumerate(arguments.items("rows", rows, "a list of conversations")):
            try:
                lines.append(json.dumps(row if isinstance(row, Mapping) else {"messages": list(row)}))
            except (TypeError, ValueError, RecursionError) as error:
                raise ValueError(f"rows[{i}]: is no JSON: {error}") from None
        return cls("\n".join(lines).encode())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Conversations:
        """Those of a file. Raises ResourceError."""
        name = printable(str(path))
        try:
            with BufferedReader(open_regular(Path(arguments.path("path", path)))) as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ResourceError(f"{name}: can't be read: {error.strerror or error}") from None
        if len(data) > MAX_BYTES:
            raise ResourceError(f"{name}: over {MAX_BYTES >> 30} GiB; give less")
        return cls(data)

    def __iter__(self) -> Iterator[Conversation]:
        """Each conversation. Raises ValueError that names the line for what is none."""
        for number, _, row in json_lines(self.data):
            try:
                yield _conversation(number, row)
            except (ValueError, SubbyteError) as error:
                raise ValueError(f"line {number}: {error}") from None


EvalText: TypeAlias = str | bytes | Conversations
"""A text, or conversations."""
EvalTexts: TypeAlias = EvalText | Sequence[EvalText] | Mapping[str, EvalText]
"""One text or several, by name where results are to name them; bytes are UTF-8, valid or not."""


def named_texts(name: str, value: object) -> dict[str, EvalText]:
    """One text or several, by their names; "text 1", "text 2" … where none are given."""
    if isinstance(value, Mapping):
        for key in value:
            arguments.text(f"{name}: a name", key)
        return {key: _one(f"{name}[{key!r}]", each) for key, each in value.items()}
    if isinstance(value, str | bytes | Conversations):
        return {"text 1": value}
    taken = "a text, conversations, or several of them"
    return {
        f"text {i}": _one(f"{name}[{i - 1}]", each) for i, each in enumerate(arguments.items(name, value, taken), 1)
    }


def bytes_of(text: EvalText) -> bytes:
    """A text in UTF-8; of conversations their lines."""
    if isinstance(text, Conversations):
        return text.data
    return text.encode("utf-8", "replace") if isinstance(text, str) else text


def _one(name: str, value: object) -> EvalText:
    return value if isinstance(value, Conversations) else arguments.raw_text(name, value)


def _conversation(number: int, row: object) -> Conversation:
    if not isinstance(row, dict) or "messages" not in row:
        raise ValueError('no JSON object with "messages"')
    system = row.get("system")
    if system is not None:
        arguments.text("system", system)
    system, messages = begin_with(system, row["messages"])
    return Conversation(number, system, messages, tuple(tools_by_name(row.get("tools") or ()).values()))
