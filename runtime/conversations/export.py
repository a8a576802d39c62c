"""Conversations for other programs and for readers: as JSON that the chat loads again, and as Markdown."""

import json
import os
from collections.abc import Sequence
from datetime import datetime

from subbyte.errors import ResourceError
from subbyte.runtime.chat.saved_chat import SAVED_CHAT, conversation_data
from subbyte.runtime.conversations.records import KeptMessage
from subbyte.runtime.files import FileKind, atomic_write
from subbyte.runtime.text import printable

_MARK = "<!-- a conversation of subbyte -->"
MARKDOWN_FILE = FileKind("an exported conversation", lambda head: head.startswith(_MARK.encode()))
FORMATS = {"md": MARKDOWN_FILE, "json": SAVED_CHAT}


def exported(form: str, name: str, system: str | None, kept: Sequence[KeptMessage]) -> str:
    """A conversation as a text of a form of `FORMATS`, with a newline at its end."""
    return to_json(name, system, kept) if form == "json" else to_markdown(name, system, kept)


def write_export(path: str | os.PathLike[str], form: str, text: str, *, overwrite: bool = False) -> None:
    """Writes that text to a file, whole or not at all, readable by its owner only. Raises as `write_conversation`."""
    try:
        with (
            atomic_write(path, FORMATS[form], overwrite=overwrite, sync=True, mode=0o600) as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            file.write(text)
    except OSError as error:
        name = printable(str(path))
        raise ResourceError(f"{name}: the conversation can't be written: {error.strerror or error}") from error


def to_json(name: str, system: str | None, kept: Sequence[KeptMessage]) -> str:
    """A saved conversation, as `Chat.load` reads it, with the time, model and settings of each message."""
    data = conversation_data(system, [each.message for each in kept])
    for row, each in zip(data["messages"], kept, strict=True):
        row |= {"time": _iso(each.time), "model": each.model, "settings": each.settings}
    return json.dumps({**data, "name": name}, ensure_ascii=False, indent=1) + "\n"


def to_markdown(name: str, system: str | None, kept: Sequence[KeptMessage]) -> str:
    """A page to read: a heading for each message, reasoning and calls in blocks that fold."""
    parts = [_MARK, f"# {name}"]
    if system:
        parts += ["## System", system]
    for each in kept:
        message = each.message
        who = {"user": "You", "assistant": each.model, "tool": f"Result of {message.name}"}.get(message.role)
        parts.append(f"## {who or message.role.capitalize()}, {_local(each.time)}")
        if message.thinking.strip():
            parts.append(f"<details><summary>Reasoning</summary>\n\n{message.thinking.strip()}\n\n</details>")
        parts += [f"Calls `{call.name}`:\n\n{_block(call.arguments)}" for call in message.tool_calls]
        parts += [message.content.strip()] if message.content.strip() else []
    return "\n\n".join(parts) + "\n"


def to_text(system: str | None, kept: Sequence[KeptMessage]) -> str:
    """The conversation as it stood in the chat, for a terminal."""
    parts = [f"system: {system}\n"] if system else []
    for each in kept:
        message = each.message
        mark = {"user": ">>> ", "tool": f"{message.name}: ", "assistant": ""}.get(message.role, f"{message.role}: ")
        parts += [f"calls {call.name} {json.dumps(call.arguments, ensure_ascii=False)}" for call in message.tool_calls]
        parts.append(f"{mark}{message.content.strip()}" + ("\n" if message.role == "assistant" else ""))
    return "\n".join(parts) + "\n"


def _block(arguments: object) -> str:
    return f"```json\n{json.dumps(arguments, ensure_ascii=False, indent=1)}\n```"


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time).astimezone().isoformat(timespec="seconds")


def _local(time: float) -> str:
    return datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M")
