"""The end of the context: a word before it comes, a choice when it has come, and /context, /forget and /pin."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from subbyte.cli.chat.context import AtTheEnd, ReplContext
from subbyte.errors import ContextOverflow

if TYPE_CHECKING:
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.chat.chat_context import ContextPolicy
    from subbyte.runtime.chat.turns import Forgotten
    from subbyte.runtime.generation.events import Event, Reply
    from subbyte.runtime.generation.generation import Generation

WARN_AT = (0.8, 0.95)  # shares of the context at which the gauge warns
AT_THE_END: dict[AtTheEnd, str] = {
    "ask": "at its end you are asked what to do",
    "forget": "at its end the oldest turns are forgotten",
    "grow": "at its end it is made larger",
    "stop": "/forget and /context N make room",
}
MAKES_ROOM = "/forget leaves out the oldest turns, /context N makes it larger, /clear begins anew"


def warning_level(chat: "Chat") -> int:
    """How many of the shares of `WARN_AT` are reached."""
    return sum(chat.n_past >= share * chat.n_ctx for share in WARN_AT)


def is_cut_by_end(chat: "Chat") -> bool:
    """Whether the last answer has ended because the context was full, and could go on in a larger one."""
    reply = chat.last
    if reply is None or reply.stop_reason != "length":
        return False
    return reply.usage.prompt + reply.usage.completion > chat.n_ctx


def go_on(chat: "Chat", n_came: int) -> "Generation":
    """Goes on with an answer that the end of the context has cut behind n_came tokens; `max_tokens` holds for all."""
    limit = chat.max_tokens
    if limit is not None:
        chat.max_tokens = max(limit - n_came, 1)
    try:
        return chat.continue_answer()
    finally:
        chat.max_tokens = limit


class UncutAnswer:
    """An answer that goes on, by the chat's policy, where the end of the context has cut it; one stream of events."""

    def __init__(self, chat: "Chat", answer: "Generation") -> None:
        self._chat, self._answer = chat, answer

    def __iter__(self) -> "Iterator[Event]":
        yield from self._answer
        n_came = self.reply.usage.completion
        while self._chat.context_policy != "stop" and is_cut_by_end(self._chat):
            try:
                self._answer = go_on(self._chat, n_came)
            except ContextOverflow:  # there is no way to go on
                return
            yield from self._answer
            n_came += self.reply.usage.completion

    @property
    def reply(self) -> "Reply":
        """What has come so far; usage and timings are those of what came since the last cut."""
        return self._answer.reply

    def close(self) -> None:
        """Ends the answer here."""
        self._answer.close()


def warn(context: ReplContext) -> None:
    """Says once at each of these shares how much room is left."""
    level, before = warning_level(context.chat), context.n_warned
    context.n_warned = level
    if level > before:
        left = max(context.chat.n_ctx - context.chat.n_past, 0)
        full = context.chat.n_past / context.chat.n_ctx
        context.say(f"(the context is {full:.0%} full, {_count(left, 'token')} left; {AT_THE_END[context.policy]})")


def choices(context: ReplContext) -> "Iterator[ContextPolicy]":
    """What the user wants to be done about a conversation that does not fit: each time another one that was not tried.

    Ends where the user stops, or where nobody can be asked.
    """
    offers: dict[str, tuple[ContextPolicy, str]] = {
        "f": ("forget", "forgetting the oldest turns; the system text and pinned turns stay"),
        "g": ("grow", f"a larger context; the model was trained for up to {context.chat.n_ctx_train} tokens"),
    }
    if not context.chat.can_grow:
        del offers["g"]
    if context.policy != "ask":
        offers = {key: offer for key, offer in offers.items() if offer[0] != context.policy}

    def ask() -> None:
        context.say(f"(the context of {_count(context.chat.n_ctx, 'token')} is full; go on by)")
        for key, (_, text) in offers.items():
            context.entry(f"  {key}  ", text)
        context.entry("  s  ", "stopping here")
        context.out.flush()

    while offers and context.policy != "stop" and context.keyboard.is_there:
        pressed = context.keyboard.wait_for([*offers, "s"], ask)
        if pressed not in offers:
            return
        yield offers.pop(pressed)[0]
        if offers:
            context.say("(that did not make room enough)")


@contextmanager
def policy(chat: "Chat", chosen: "ContextPolicy") -> Iterator[None]:
    """Within, that is done where the conversation does not fit."""
    before, chat.context_policy = chat.context_policy, chosen
    try:
        yield
    finally:
        chat.context_policy = before


def tell_changes(context: ReplContext, n_ctx: int, forgotten: "Forgotten") -> None:
    """Says what was done about a context that was full. n_ctx, forgotten: how it was before."""
    new = context.chat.forgotten - forgotten
    if new.turns:
        context.say(f"(forgot {_oldest(new)}; the system text and pinned turns stay)")
    if context.chat.n_ctx != n_ctx:
        context.say(f"(the context holds {context.chat.n_ctx} tokens now)")


def set_context(context: ReplContext, argument: str) -> None:
    """/context: shows the context, gives it another size, or says what is done at its end."""
    chat, n_before = context.chat, context.chat.n_past
    if (chosen := next((each for each in AT_THE_END if each == argument), None)) is not None:
        context.policy = chosen
    elif argument.isascii() and argument.isdigit() and len(argument) < 16:
        chat.resize(int(argument))
    elif argument:
        raise ValueError(f"/context takes a number of tokens, or {', '.join(AT_THE_END)}, not {argument!r}")
    n_pinned = sum(message.pinned for message in chat.messages)
    parts = [f"{chat.n_past} of {chat.n_ctx} tokens"]
    if n_before > chat.n_ctx:
        parts.append(f"{n_before - chat.n_ctx} too few for the conversation")
    if chat.forgotten.turns:
        parts.append(f"{_count(chat.forgotten.turns, 'turn')} ({_count(chat.forgotten.tokens, 'token')}) forgotten")
    if n_pinned:
        parts.append(f"{_count(n_pinned, 'turn')} pinned")
    context.say(f"context: {', '.join(parts)}; {AT_THE_END[context.policy]}")


def forget(context: ReplContext, argument: str) -> None:
    """/forget: leaves the oldest turns out."""
    if argument and not (argument.isascii() and argument.isdigit() and 0 < int(argument[:15])):
        raise ValueError(f"/forget takes a number of turns, not {argument!r}")
    context.say(f"(forgot {_oldest(context.chat.forget(int(argument or 1)))})")


def pin(context: ReplContext, argument: str) -> None:
    """/pin: has the last turn stay when others are forgotten; off: none any more."""
    chat = context.chat
    if argument not in ("", "off"):
        raise ValueError(f"/pin takes nothing, or off, not {argument!r}")
    if not chat.messages:
        raise ValueError("there is nothing to pin: nothing was said yet")
    if argument == "off":
        for i, message in enumerate(chat.messages):
            if message.pinned:
                chat.pin(i, pinned=False)
        context.say("(no turn is pinned)")
    else:
        chat.pin()
        context.say("(the last turn stays when others are forgotten)")


def _oldest(forgotten: "Forgotten") -> str:
    turns = "the oldest turn" if forgotten.turns == 1 else f"the {forgotten.turns} oldest turns"
    return f"{turns}, {_count(forgotten.tokens, 'token')}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' if n != 1 else ''}"
