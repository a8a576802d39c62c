"""The /commands of the chat: one table, one small function each."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from subbyte.cli.repl.presets import list_presets, take_preset
from subbyte.cli.repl.saved_chats import load, save
from subbyte.cli.repl.settings import BY_NAME, RANDOM, SETTINGS, changed

if TYPE_CHECKING:
    from subbyte.cli.repl.repl import Repl


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
    repl.line("Ctrl-C: stop the answer; Ctrl-T: hide or show its reasoning; Ctrl-D: leave.")


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
    repl.line(f"thinking  {_thinking(repl)}")


def _think(repl: "Repl", argument: str) -> None:
    if argument == "show":
        repl.show_thinking()
        return
    if argument not in ("", *ON_OFF):
        raise ValueError(f"/think takes on, off or show, not {argument!r}")
    if argument:
        repl.chat.thinking = ON_OFF[argument]
    repl.say(f"thinking: {_thinking(repl)}")


def _preset(repl: "Repl", name: str) -> None:
    take_preset(repl, name) if name else list_presets(repl)


def _regen(repl: "Repl", _: str) -> None:
    repl.answer(repl.chat.regenerate)


def _stats(repl: "Repl", _: str) -> None:
    last = repl.chat.last
    if last is None:
        raise ValueError("there is no answer yet")
    usage, timings = last.usage, last.timings
    repl.line(f"prompt    {usage.prompt} tokens, {usage.reused} of them reused from before")
    repl.line(f"reading   {usage.prompt - usage.reused} tokens{_speed(timings.prefill, timings.prefill_rate)}")
    repl.line(f"answer    {usage.completion} tokens{_speed(timings.generation, timings.generation_rate)}")
    rate = repl.made / repl.seconds if repl.seconds > 0 else 0.0
    if usage.thinking:
        repl.line(f"reasoning {usage.thinking} of these tokens")
    repl.line(f"so far    {repl.made} tokens{_speed(repl.seconds, rate)}")


def _bye(_: "Repl", __: str) -> None:
    raise EOFError


COMMANDS = {
    "/help": Command("/help", "list the commands", _help),
    "/set": Command("/set [NAME VALUE]", "show or change how tokens are chosen", _set),
    "/system": Command("/system [TEXT]", 'show or change the system prompt; "" removes it', _system),
    "/think": Command("/think [on|off|show]", "reason before answering, or not; show the last reasoning", _think),
    "/preset": Command("/preset [NAME]", "list or take the vendor's advice on how tokens are chosen", _preset),
    "/show": Command("/show", "show model, context and settings", _show),
    "/regen": Command("/regen", "answer the last message anew", _regen),
    "/clear": Command("/clear", "forget the conversation", _clear),
    "/save": Command("/save NAME", "keep the conversation (or a path: /save ./talk.json)", save),
    "/load": Command("/load NAME", "go on with a kept conversation", load),
    "/stats": Command("/stats", "tokens and speed of the last answer", _stats),
    "/bye": Command("/bye", "leave", _bye),
}
ON_OFF = {"on": True, "off": False}
ALIASES = {"/?": "/help", "/exit": "/bye", "/quit": "/bye"}


def _value(repl: "Repl", name: str) -> str:
    value = getattr(repl.chat.sampling, name)
    return RANDOM if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _thinking(repl: "Repl") -> str:
    chat = repl.chat
    how = {None: "as the model likes", True: "on", False: "off"}[chat.thinking] if chat.can_think else "no switch"
    budget = "" if chat.reasoning_budget is None else f", at most {chat.reasoning_budget} tokens"
    return how + budget + (", hidden" if repl.hide_thinking else "")


def _speed(seconds: float, rate: float) -> str:
    return f" in {seconds:.2f} s, {rate:.1f} tokens/s" if rate > 0 else ""
