"""Conversations as files: plain JSON, written whole or not at all, checked when read."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from subbyte.errors import ResourceError, SubbyteError
from subbyte.runtime.files import FileKind, UnfitFile, atomic_write, read_regular
from subbyte.runtime.records import Record
from subbyte.runtime.text import printable

Speaker: TypeAlias = Literal["user", "assistant"]
_FORMAT = "subbyte-chat"
_MAX_FILE = 1 << 26  # bytes
_HEAD = re.compile(rb'\s*\{\s*"format"\s*:\s*"subbyte-chat"')
SAVED_CHAT = FileKind("a saved conversation", lambda head: _HEAD.match(head) is not None)


@dataclass(frozen=True, slots=True)
class Message(Record):
    """One turn of a conversation. `thinking` is the model's reasoning before it: kept, but never sent back to it."""

    role: Speaker
    content: str
    thinking: str = ""


def clean(text: str) -> str:
    """`text` as real Unicode: surrogates that are left alone, as from a terminal with broken input, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def write_conversation(
    path: str | os.PathLike[str], system: str | None, messages: Sequence[Message], *, overwrite: bool = False
) -> None:
    """Write a conversation; an older file stays as it was if that fails. Raises FileExists and ResourceError."""
    data = {"format": _FORMAT, "version": 1, "system": system, "messages": [_row(m) for m in messages]}
    try:
        with (
            atomic_write(path, SAVED_CHAT, overwrite=overwrite, sync=True, mode=0o600) as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            json.dump(data, file, ensure_ascii=False, indent=1)
            file.write("\n")
    except OSError as error:
        name = printable(str(path))
        raise ResourceError(f"{name}: the conversation can't be saved: {error.strerror or error}") from error


def _row(message: Message) -> dict[str, Any]:
    return {name: value for name, value in message.to_dict().items() if name != "thinking" or value}


def read_conversation(path: str | os.PathLike[str]) -> tuple[str | None, list[Message]]:
    """System text and messages of a saved conversation.

    Raises ResourceError if the file can't be read, SubbyteError if it holds something else, and says what.
    """
    name = printable(str(path))
    try:
        content = read_regular(path, _MAX_FILE)
    except UnfitFile as error:
        raise SubbyteError(f"{name}: not a conversation saved by subbyte: {error.strerror}") from error
    except OSError as error:
        raise ResourceError(f"{name}: the conversation can't be read: {error.strerror or error}") from error
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SubbyteError(f"{name}: not JSON, so not a conversation saved by subbyte: {error}") from error
    try:
        return _checked(data)
    except ValueError as error:
        raise SubbyteError(f"{name}: not a conversation saved by subbyte: {error}") from error


def _checked(data: Any) -> tuple[str | None, list[Message]]:
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise ValueError(f'it has no "format": "{_FORMAT}"')
    if data.get("version") != 1:
        raise ValueError(f"its version is {data.get('version')!r:.40}, but only 1 is known")
    system, messages = data.get("system"), data.get("messages")
    if not (system is None or isinstance(system, str)):
        raise ValueError('"system" must be a text or null')
    if not isinstance(messages, list):
        raise ValueError('"messages" must be a list')
    if len(messages) % 2:
        raise ValueError(f"it has {len(messages)} messages, but each one of the user needs an answer")
    return clean(system) if system else None, [_message(i, m) for i, m in enumerate(messages)]


def _message(index: int, data: Any) -> Message:
    if not isinstance(data, dict) or not isinstance(data.get("content"), str):
        raise ValueError(f'message {index} must have a text as "content"')
    role: Speaker = "assistant" if index % 2 else "user"
    if data.get("role") != role:
        raise ValueError(f"message {index} has role {data.get('role')!r:.40}, but must have {role!r}: they alternate")
    thinking = data.get("thinking", "")
    if not isinstance(thinking, str):
        raise ValueError(f'message {index} must have a text as "thinking", or none')
    return Message(role, clean(data["content"]), clean(thinking))
