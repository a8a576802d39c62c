"""Changing one's mind: /undo, /edit and /retry. What was said before stays in the store as a branch."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from subbyte.cli.chat.answer import answer
from subbyte.cli.chat.asking import edited
from subbyte.cli.chat.blocks import shell_words
from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.keeper import everything
from subbyte.cli.chat.settings import BY_NAME, ON_OFF, changed
from subbyte.cli.slash.turns import show_message
from subbyte.runtime.text import did_you_mean

if TYPE_CHECKING:
    from subbyte.runtime.chat.messages import Message
    from subbyte.runtime.generation.generation import Generation


def undo(context: ReplContext, _: str) -> None:
    """Takes back the last question with its answer."""
    from subbyte.runtime.conversations.names import first_words

    context.say(f"took back {first_words(context.chat.undo())}{_kept(context)}")


def edit(context: ReplContext, number: str) -> None:
    """Opens an earlier message of the user in the editor, and answers again from there."""
    messages = everything(context.chat)
    places = [i for i, message in enumerate(messages) if message.role == "user"]
    if not places:
        raise ValueError("there is nothing to edit: nothing was said yet")
    if number and not (number.isdecimal() and 0 < int(number) <= len(places)):
        raise ValueError(f"/edit takes 1, your last message, to {len(places)}, your first, not {number!r}")
    place = places[-int(number or 1)]
    before = messages[place].content
    text = (edited(context, before) or "").rstrip("\n")
    if not text.strip() or text == before.rstrip("\n"):
        context.say("not changed")
        return
    show_message(context, replace(messages[place], content=text))
    answer(context, partial(_answer_from, context, messages[:place], text))


def _answer_from(context: ReplContext, messages: "Sequence[Message]", text: str) -> "Generation":
    """Begins the answer to a text behind these messages; where that fails, the conversation is as it was."""
    chat, before = context.chat, everything(context.chat)
    chat.resume(messages, system=chat.system)
    try:
        return chat.stream(text)
    except BaseException:
        chat.resume(before, system=chat.system)
        raise


def retry(context: ReplContext, argument: str) -> None:
    """Answers the last message again, with other settings for this once: `/retry temp=0.9 think=off`."""
    chat = context.chat
    sampling, thinking = chat.sampling, chat.thinking
    new_sampling, new_thinking = sampling, thinking
    if not argument:
        raise ValueError("/retry takes settings, as in temp=0.9 top_k=20 think=off; /regen answers again with the same")
    for part in shell_words("/retry", argument, "a text"):
        name, equals, value = part.partition("=")
        name = "temperature" if name == "temp" else name
        if not equals or (name != "think" and name not in BY_NAME):
            hint = did_you_mean(name, ("temp", *BY_NAME, "think"))
            raise ValueError(f"/retry takes settings as in temp=0.9 top_k=20 think=off, not {part!r}{hint}")
        if name != "think":
            new_sampling = changed(new_sampling, name, value)
        elif value not in ON_OFF:
            raise ValueError(f"think is on or off, not {value!r}")
        else:
            new_thinking = ON_OFF[value]
    try:
        chat.sampling, chat.thinking = new_sampling, new_thinking
        answer(context, chat.regenerate)
        context.keep()  # with these settings
    finally:
        chat.sampling, chat.thinking = sampling, thinking


def _kept(context: ReplContext) -> str:
    return "; /branch goes back to it" if context.keeper.saves else ""
