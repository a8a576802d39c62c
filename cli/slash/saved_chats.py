"""Conversations in files: /save, /load and /export. /load resumes kept conversations, too."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from subbyte.cli.chat.asking import confirmed
from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.keeper import everything
from subbyte.cli.slash import conversations
from subbyte.cli.slash.turns import show_last_turns
from subbyte.runtime.text import did_you_mean, spelt_out

if TYPE_CHECKING:
    from subbyte.runtime.conversations.records import KeptMessage
    from subbyte.runtime.files import FileKind


def save(context: ReplContext, name: str) -> None:
    """Writes the conversation to a file of that name, after a question over an older one of its kind."""
    from subbyte.runtime.chat.saved_chat import SAVED_CHAT

    path = _path(context, name, "/save")
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(context, path, SAVED_CHAT, lambda overwrite: context.chat.save(path, overwrite=overwrite))


def load(context: ReplContext, name: str) -> None:
    """Continues the kept conversation or the saved one of that name; without a name lists the kept ones."""
    if not name:
        conversations.sessions(context, "")
        return
    found = None if "/" in name or name.endswith(".json") else conversations.find(context, name)
    if found is not None:
        conversations.resume(context, found)
        return
    path = _path(context, name, "/load")
    here = Path(os.path.expanduser(name))
    if not os.path.lexists(path) and ("/" in name or here.suffix) and here.is_file():
        path = here  # /export writes to names as they are
    if not os.path.lexists(path):
        names = [*context.keeper.store.names(conversations.N_NAMES), *saved_names(context.chats_dir)]
        raise ValueError(f"no conversation {name}, nor a file {path}{did_you_mean(name, names)}; /sessions lists them")
    context.chat.load(path)
    context.keeper.begin(everything(context.chat))
    show_last_turns(context)
    context.say(f"loaded {len(everything(context.chat))} messages from {path}")


def export(context: ReplContext, argument: str) -> None:
    """Writes the conversation as Markdown or JSON, to the screen or to a file."""
    from subbyte.runtime.conversations.export import FORMATS, exported, write_export

    form, _, file = argument.partition(" ")
    if form not in FORMATS:
        raise ValueError(f"/export takes md or json, and a file behind it, not {form!r}")
    name, kept = _kept(context)
    text = exported(form, name, context.chat.system, kept)
    if not file:
        context.out.write(spelt_out(text))
        return
    path = Path(os.path.expanduser(file.strip()))
    _write(context, path, FORMATS[form], lambda overwrite: write_export(path, form, text, overwrite=overwrite))


def _kept(context: ReplContext) -> "tuple[str, list[KeptMessage]]":
    """The conversation's name, and its messages with their times as far as they are kept."""
    from subbyte.runtime.conversations.records import KeptMessage

    messages, settings = everything(context.chat), context.chat.settings.to_dict()
    found = context.keeper.recording.conversation if context.keeper.saves else None
    kept = context.keeper.store.messages(found) if found else []
    if found and [each.message for each in kept] == messages:
        return found.name, kept
    return "conversation", [KeptMessage(0, message, time.time(), context.model, settings) for message in messages]


def _write(context: ReplContext, path: Path, kind: "FileKind", write: Callable[[bool], None]) -> None:
    """Writes a file: a new one, or over one of its kind if the user says so, and never over another."""
    from subbyte.errors import FileExists
    from subbyte.runtime.files import check_place

    try:
        check_place(path, kind)
        overwrite = False
    except FileExists:
        check_place(path, kind, overwrite=True)
        overwrite = confirmed(context, f"{path} is {kind.name}; write over it?")
        if not overwrite:
            context.say(f"{path} stays")
            return
    write(overwrite)
    context.say(f"saved to {path}")


def saved_names(chats_dir: Path) -> list[str]:
    """Names of the saved conversations."""
    return sorted(path.stem for path in chats_dir.glob("*.json"))


def _path(context: ReplContext, name: str, command: str) -> Path:
    """Where a conversation of that name or path is; always a .json file."""
    if not name:
        raise ValueError(f"{command} needs a name or a path")
    path = Path(os.path.expanduser(name))  # unlike Path.expanduser, no error for an unknown ~user
    if path.suffix != ".json":
        path = path.with_name(path.name + ".json")
    return path if "/" in name else context.chats_dir / path
