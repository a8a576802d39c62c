"""The /commands of the chat: one table, one small function each."""

import difflib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from subbyte.cli.settings import BY_NAME, RANDOM, SETTINGS, changed

if TYPE_CHECKING:
    from subbyte.cli.repl import Repl


@dataclass(frozen=True)
class Command:
    """A command: how it is written, what it does in a few words, and the function that does it."""

    usage: str
    help: str
    run: "Callable[[Repl, str], None]"


def is_command(text: str) -> bool:
    """Whether the text is a command: one line that starts with / and a word (a path like /usr/bin is none)."""
    return re.fullmatch(r"/[a-zA-Z?]*([ \t].*)?", text.strip()) is not None


def run(repl: "Repl", text: str) -> None:
    """Runs the command line; ValueError, SubbyteError or OSError says what was wrong, EOFError leaves the chat."""
    word, _, argument = text.strip().partition(" ")
    name = ALIASES.get(word.lower(), word.lower())
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=3, cutoff=0.5)
        repl.say(f"no command {word}; {'near: ' + ' '.join(near) if near else '/help lists them'}")
        return
    COMMANDS[name].run(repl, argument.strip())


def _help(repl: "Repl", _: str) -> None:
    width = max(len(command.usage) for command in COMMANDS.values())
    for command in COMMANDS.values():
        repl.line(f"{command.usage:{width}}  {command.help}")
    repl.line('Alt-Enter: new line; """ begins and ends a message of several lines.')
    repl.line("Ctrl-C: stop the answer; Ctrl-D: leave.")


def _clear(repl: "Repl", _: str) -> None:
    repl.chat.clear()
    repl.say("conversation cleared")


def _system(repl: "Repl", text: str) -> None:
    if text:
        repl.chat.system = None if text == '""' else text
    repl.say(f"system: {repl.chat.system}" if repl.chat.system else "no system prompt")


def _set(repl: "Repl", argument: str) -> None:
    name, _, value = argument.partition(" ")
    name = "temperature" if name == "temp" else name
    if not name:
        for setting in SETTINGS:
            repl.line(f"{setting.name:15}{_value(repl, setting.name):>8}  {setting.help}")
        return
    if name not in BY_NAME:
        near = difflib.get_close_matches(name, BY_NAME, n=1) or BY_NAME
        raise ValueError(f"no setting {name}; near: {', '.join(near)}")
    if value:
        repl.chat.sampling = changed(repl.chat.sampling, name, value.strip())
    repl.say(f"{name} = {_value(repl, name)}")


def _show(repl: "Repl", _: str) -> None:
    repl.line(f"model     {repl.details}")
    repl.line(f"context   {repl.chat.n_past} of {repl.chat.n_ctx} tokens, {len(repl.chat.messages)} messages")
    repl.line(f"system    {repl.chat.system or '(none)'}")
    repl.line("sampling  " + ", ".join(f"{name} {_value(repl, name)}" for name in BY_NAME))


def _regen(repl: "Repl", _: str) -> None:
    repl.answer(repl.chat.regenerate)


def _save(repl: "Repl", name: str) -> None:
    path = _path(repl, name, "/save")
    path.parent.mkdir(parents=True, exist_ok=True)
    repl.chat.save(path)
    repl.say(f"saved to {path}")


def _load(repl: "Repl", name: str) -> None:
    path = _path(repl, name, "/load")
    if not path.exists():
        have = ", ".join(saved(repl.chats_dir)) or "none"
        raise ValueError(f"no conversation at {path}; saved ones: {have}")
    repl.chat.load(path)
    repl.say(f"loaded {len(repl.chat.messages)} messages from {path}")


def _stats(repl: "Repl", _: str) -> None:
    last = repl.chat.last
    if last is None:
        raise ValueError("there is no answer yet")
    usage, timings = last.usage, last.timings
    repl.line(f"prompt    {usage.prompt} tokens, {usage.reused} of them reused from before")
    repl.line(f"reading   {usage.prompt - usage.reused} tokens{_speed(timings.prefill, timings.prefill_rate)}")
    repl.line(f"answer    {usage.completion} tokens{_speed(timings.generation, timings.generation_rate)}")
    rate = repl.made / repl.seconds if repl.seconds > 0 else 0.0
    repl.line(f"so far    {repl.made} tokens{_speed(repl.seconds, rate)}")


def _bye(_: "Repl", __: str) -> None:
    raise EOFError


COMMANDS = {
    "/help": Command("/help", "list the commands", _help),
    "/set": Command("/set [NAME VALUE]", "show or change how tokens are chosen", _set),
    "/system": Command("/system [TEXT]", 'show or change the system prompt; "" removes it', _system),
    "/show": Command("/show", "show model, context and settings", _show),
    "/regen": Command("/regen", "answer the last message anew", _regen),
    "/clear": Command("/clear", "forget the conversation", _clear),
    "/save": Command("/save NAME", "keep the conversation (or a path: /save ./talk.json)", _save),
    "/load": Command("/load NAME", "go on with a kept conversation", _load),
    "/stats": Command("/stats", "tokens and speed of the last answer", _stats),
    "/bye": Command("/bye", "leave", _bye),
}
ALIASES = {"/?": "/help", "/exit": "/bye", "/quit": "/bye"}


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


def _value(repl: "Repl", name: str) -> str:
    value = getattr(repl.chat.sampling, name)
    return RANDOM if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _speed(seconds: float, rate: float) -> str:
    return f" in {seconds:.2f} s, {rate:.1f} tokens/s" if rate > 0 else ""
