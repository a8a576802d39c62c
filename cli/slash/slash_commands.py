"""The slash commands of the chat: one table, one small function each."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from subbyte.cli.chat.answer import answer
from subbyte.cli.chat.blocks import is_open_block, unquote
from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.full_context import forget, pin, set_context
from subbyte.cli.chat.presets import apply_preset, list_presets
from subbyte.cli.chat.settings import BY_NAME, ON_OFF, default
from subbyte.cli.chat.tools import set_tools
from subbyte.cli.slash import conversations
from subbyte.cli.slash.alternatives import fork_at, show_alternatives, show_probabilities
from subbyte.cli.slash.models import switch_model
from subbyte.cli.slash.reading import read
from subbyte.cli.slash.rewriting import edit, retry, undo
from subbyte.cli.slash.saved_chats import export, load, save
from subbyte.cli.slash.set_command import set_values, value_of


@dataclass(frozen=True)
class Command:
    """A command: how it is written, what it does in a few words, and the function that does it.

    several_lines: whether what it takes may be a text of several lines.
    """

    usage: str
    help: str
    run: Callable[[ReplContext, str], None]
    several_lines: bool = False


def is_command(text: str) -> bool:
    """Whether the text is a command: a line that starts with / and a word (a path like /usr/bin is none).

    Several lines are one if that word is a command's: else it is a text that happens to start so.
    """
    first, *others = text.strip().split("\n", 1)
    return re.fullmatch(r"/[a-zA-Z?]*(\s.*)?", first) is not None and (not others or _name(first) in COMMANDS)


def run(context: ReplContext, text: str) -> None:
    """Runs the command; ValueError, SubbyteError or OSError says what was wrong, EOFError leaves the chat."""
    name, (word, *rest) = _name(text), text.split(maxsplit=1)
    argument = rest[0].strip() if rest else ""
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=3, cutoff=0.5)
        context.say(f"unknown command {word}; {_did_you_mean(near) or '/help lists the commands'}")
        return
    if "\n" in text.strip() and not COMMANDS[name].several_lines:
        raise ValueError(f'{name} takes one line; a message that begins so goes between """ and """')
    COMMANDS[name].run(context, argument)


def _name(text: str) -> str:
    """The command that the text names, by its own name."""
    word = text.split(maxsplit=1)[0].lower()
    return ALIASES.get(word, word)


def _help(context: ReplContext, _: str) -> None:
    width = max(len(command.usage) for command in COMMANDS.values())
    for command in COMMANDS.values():
        context.entry(f"{command.usage:{width}}  ", command.help)
    context.entry("", "@FILE in a message: the text of that file goes before it.")
    context.entry("", 'Alt-Enter: new line; """ begins and ends a message, or a system prompt, of several lines.')
    context.entry("", "Ctrl-C: stop the answer; Ctrl-T: hide or show its reasoning; Ctrl-D: leave.")


def _clear(context: ReplContext, _: str) -> None:
    context.chat.clear()
    context.keeper.begin()
    context.say("conversation cleared")


def _system(context: ReplContext, text: str) -> None:
    if is_open_block(text):
        raise ValueError('the block has no """ at its end')
    if text:
        context.chat.system = None if text == '""' else unquote(text) or None
    context.say(f"system: {context.chat.system}" if context.chat.system else "no system prompt")


def _show(context: ReplContext, _: str) -> None:
    context.entry("model     ", context.details)
    chat = context.chat
    context.line(f"context   {chat.n_past} of {chat.n_ctx} tokens, {len(chat.messages)} messages")
    context.entry("system    ", chat.system or "(none)")
    shown = [name for name in BY_NAME if name in ALWAYS_SHOWN or value_of(context, name) != default(name)]
    context.entry("sampling  ", ", ".join(f"{name} {value_of(context, name)}" for name in shown))
    context.line(f"thinking  {_thinking(context)}")


def _think(context: ReplContext, argument: str) -> None:
    if argument == "show":
        context.show_thinking()
        return
    if argument not in ("", *ON_OFF):
        raise ValueError(f"/think takes on, off or show, not {argument!r}")
    if argument:
        context.chat.thinking = ON_OFF[argument]
    context.say(f"thinking: {_thinking(context)}")


def _preset(context: ReplContext, name: str) -> None:
    apply_preset(context, name) if name else list_presets(context)


def _regen(context: ReplContext, _: str) -> None:
    chat, before = context.chat, context.chat.messages[-1:]
    answer(context, chat.regenerate)
    whole = chat.last is not None and chat.last.stop_reason != "cancelled"
    if whole and chat.messages[-1:] == before and chat.sampling.temperature == 0:
        context.say("(the same again: temperature 0 leaves no choice; /retry temp=0.8 does)")


def _continue(context: ReplContext, _: str) -> None:
    answer(context, context.chat.continue_answer)


def _fork(context: ReplContext, argument: str) -> None:
    """Goes on from another token where a number says at which, else in a copy of the conversation."""
    if argument.partition(" ")[0].isdecimal():
        fork_at(context, argument)
    else:
        conversations.fork(context, argument)


def _stats(context: ReplContext, _: str) -> None:
    last = context.chat.last
    if last is None:
        raise ValueError("there is no answer yet")
    usage, timings = last.usage, last.timings
    rate = context.n_generated / context.seconds if context.seconds > 0 else 0.0
    computed = usage.prompt - usage.reused
    context.entry("prompt         ", f"{_tokens(usage.prompt)} ({usage.reused} cached)")
    context.entry("prefill        ", f"{_tokens(computed)}{_speed(timings.prefill, timings.prefill_rate)}")
    context.entry(
        "generation     ", f"{_tokens(usage.completion)}{_speed(timings.generation, timings.generation_rate)}"
    )
    if usage.thinking:
        context.entry("reasoning      ", f"{usage.thinking} of these tokens")
    if usage.drafted:
        context.entry(
            "speculation    ",
            f"{usage.accepted} of these tokens were drafted, of {_tokens(usage.drafted)} drafted in all",
        )
    context.entry("session total  ", f"{_tokens(context.n_generated)}{_speed(context.seconds, rate)}")
    kept = context.chat.checkpoints
    if kept.max_bytes:
        places = ", ".join(map(str, kept.positions)) or "none yet"
        used, bound = kept.n_bytes / 2**20, kept.max_bytes / 2**20
        context.entry("checkpoints    ", f"behind tokens {places}: {used:.1f} of {bound:.1f} MiB")
        context.entry("computed again ", f"{_tokens(kept.n_recomputed)}, behind checkpoints it went back to")


def _bye(_: ReplContext, __: str) -> None:
    raise EOFError


COMMANDS = {
    "/help": Command("/help", "list the commands", _help),
    "/set": Command("/set [NAME VALUE]", "show or change sampling parameters; NAME=VALUE, several at once", set_values),
    "/system": Command("/system [TEXT]", 'show or change the system prompt; "" removes it', _system, True),
    "/read": Command("/read [FILE...]", "let the text of files go before the next message", read),
    "/tools": Command("/tools [FILE.py]", "let the model call functions of a file, each after a yes", set_tools),
    "/think": Command("/think [on|off|show]", "switch reasoning on or off; show the last reasoning", _think),
    "/preset": Command("/preset [NAME]", "list or apply the vendor's sampling presets", _preset),
    "/model": Command("/model [NAME]", "go on with another model, or list those at hand", switch_model),
    "/show": Command("/show", "show model, context and settings", _show),
    "/regen": Command("/regen", "answer the last message again", _regen),
    "/continue": Command("/continue", "go on with an answer that was cut or stopped", _continue),
    "/retry": Command("/retry SETTINGS", "answer the last message again with other settings, once: temp=0.9", retry),
    "/undo": Command("/undo", "take back the last message and its answer", undo),
    "/edit": Command("/edit [N]", "edit your last message, or the Nth last, in $EDITOR and answer from there", edit),
    "/fork": Command(
        "/fork [NAME] | N [CHOICE]", "go on in a copy of the conversation, or from another token of the answer", _fork
    ),
    "/branch": Command(
        "/branch [N]", "list what edits and repeats left behind; go back to one", conversations.branches
    ),
    "/probs": Command("/probs", "show the last answer with each token's probability", show_probabilities),
    "/alt": Command("/alt N|WORD", "list what else might have come at a token of the last answer", show_alternatives),
    "/context": Command(
        "/context [N|POLICY]", "show or resize the context; choose what is done at its end", set_context
    ),
    "/forget": Command("/forget [N]", "leave the oldest turns out of the prompt", forget),
    "/pin": Command("/pin [off]", "have the last turn stay when others are forgotten; off: none", pin),
    "/clear": Command("/clear", "begin a new conversation", _clear),
    "/sessions": Command("/sessions", "list the kept conversations", conversations.sessions),
    "/name": Command("/name [NAME]", "show or change the conversation's name", conversations.name),
    "/load": Command("/load [NAME]", "resume a kept conversation by name or number, or a saved file", load),
    "/delete": Command("/delete NAME", "delete a kept conversation", conversations.delete),
    "/save": Command("/save NAME", "save the conversation as a file (or ./talk.json)", save),
    "/export": Command("/export md|json [FILE]", "write the conversation to the screen or a file", export),
    "/stats": Command("/stats", "tokens and speed of the last answer", _stats),
    "/bye": Command("/bye", "leave", _bye),
}
ALWAYS_SHOWN = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "repeat_last_n", "seed")
ALIASES = {"/?": "/help", "/exit": "/bye", "/quit": "/bye"}


def _did_you_mean(names: Sequence[str]) -> str:
    return f"did you mean {' or '.join(names)}?" if names else ""


def _thinking(context: ReplContext) -> str:
    chat = context.chat
    states = {None: "model's default", True: "on", False: "off"}
    state = states[chat.thinking] if chat.can_think else "cannot be switched"
    budget = "" if chat.reasoning_budget is None else f", at most {chat.reasoning_budget} tokens"
    return state + budget + (", hidden" if context.hide_thinking else "")


def _tokens(n: int) -> str:
    return f"{n} token{'s' if n != 1 else ''}"


def _speed(seconds: float, rate: float) -> str:
    return f" in {seconds:.2f} s, {rate:.1f} tokens/s" if rate > 0 else ""
