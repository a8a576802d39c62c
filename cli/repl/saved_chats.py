"""Conversations saved in files: /save and /load."""

import os
from pathlib import Path

from subbyte.cli.repl.context import ReplContext
from subbyte.errors import FileExists

OVERWRITE = "--overwrite"  # behind the name: the permission to replace a saved conversation


def save(context: ReplContext, argument: str) -> None:
    """Writes the conversation under that name."""
    name = argument.removesuffix(OVERWRITE).rstrip()
    path = _path(context, name, "/save")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        context.chat.save(path, overwrite=name != argument)
    except FileExists as error:
        raise FileExists(str(error).replace("overwrite=True", f"/save {name} {OVERWRITE}")) from None
    context.say(f"saved to {path}")


def load(context: ReplContext, name: str) -> None:
    """Continues the conversation of that name."""
    path = _path(context, name, "/load")
    if not os.path.lexists(path):
        names = ", ".join(saved_names(context.chats_dir)) or "none"
        raise ValueError(f"no conversation at {path}; saved ones: {names}")
    context.chat.load(path)
    context.say(f"loaded {len(context.chat.messages)} messages from {path}")


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
