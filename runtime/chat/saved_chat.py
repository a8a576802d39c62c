"""Conversations as files: plain JSON, written whole or not at all, checked when read."""

import json
import os
import re
from collections.abc import Sequence
from typing import Any

from subbyte.errors import ResourceError, SubbyteError
from subbyte.runtime.chat.messages import Message, begin_with, clean
from subbyte.runtime.files import FileKind, UnfitFile, atomic_write, read_regular
from subbyte.runtime.text import printable

_FORMAT = "subbyte-chat"
_VERSION = 2  # 1 had messages of user and assistant in turn, and no calls
_MAX_FILE = 1 << 26  # bytes
_HEAD = re.compile(rb'\s*\{\s*"format"\s*:\s*"subbyte-chat"')
SAVED_CHAT = FileKind("a saved conversation", lambda head: _HEAD.match(head) is not None)


def write_conversation(
    path: str | os.PathLike[str], system: str | None, messages: Sequence[Message], *, overwrite: bool = False
) -> None:
    """Write a conversation; an older file stays as it was if that fails. Raises FileExists and ResourceError."""
    data = conversation_data(system, messages)
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


def conversation_data(system: str | None, messages: Sequence[Message]) -> dict[str, Any]:
    """What the file holds, as JSON has it."""
    return {"format": _FORMAT, "version": _VERSION, "system": system, "messages": [_row(m) for m in messages]}


def _row(message: Message) -> dict[str, Any]:
    return {name: value for name, value in message.to_dict().items() if name in ("role", "content") or value}


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
    version = data.get("version")
    if version not in (1, _VERSION):
        raise ValueError(f"its version is {version!r:.40}, but only 1 and {_VERSION} are known")
    system, messages = data.get("system"), data.get("messages")
    if not (system is None or isinstance(system, str)):
        raise ValueError('"system" must be a text or null')
    if not isinstance(messages, list):
        raise ValueError('"messages" must be a list')
    if version == 1:
        _check_turns(messages)
    return begin_with(clean(system) if system else None, messages)


def _check_turns(messages: Sequence[Any]) -> None:
    """Raises ValueError where user and assistant do not alternate."""
    if len(messages) % 2:
        raise ValueError(f"it has {len(messages)} messages, but each one of the user needs an answer")
    for i, message in enumerate(messages):
        role = "assistant" if i % 2 else "user"
        found = message.get("role") if isinstance(message, dict) else None
        if found != role:
            raise ValueError(f"messages[{i}] has role {found!r:.40}, but must have {role!r}: they alternate")
