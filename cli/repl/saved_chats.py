"""Conversations kept in files: /save and /load."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subbyte.cli.repl.repl import Repl


def save(repl: "Repl", name: str) -> None:
    """Writes the conversation under that name."""
    path = _path(repl, name, "/save")
    path.parent.mkdir(parents=True, exist_ok=True)
    repl.chat.save(path)
    repl.say(f"saved to {path}")


def load(repl: "Repl", name: str) -> None:
    """Goes on with the conversation of that name."""
    path = _path(repl, name, "/load")
    if not path.exists():
        have = ", ".join(saved(repl.chats_dir)) or "none"
        raise ValueError(f"no conversation at {path}; saved ones: {have}")
    repl.chat.load(path)
    repl.say(f"loaded {len(repl.chat.messages)} messages from {path}")


def saved(chats_dir: Path) -> list[str]:
    """Names of the kept conversations."""
    return sorted(path.stem for path in chats_dir.glob("*.json"))


def _path(repl: "Repl", name: str, command: str) -> Path:
    """Where a conversation of that name or path is; always a .json file, so that no other file is overwritten."""
    if not name:
        raise ValueError(f"{command} needs a name or a path")
    path = Path(os.path.expanduser(name))  # unlike Path.expanduser, no error for an unknown ~user
    if path.suffix != ".json":
        path = path.with_name(path.name + ".json")
    return path if "/" in name else repl.chats_dir / path
