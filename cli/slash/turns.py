"""The last turns of a conversation that is resumed, as they stood on the screen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.keeper import everything
from subbyte.cli.screen.answer_text import answer_text
from subbyte.cli.terminal.console import encodable
from subbyte.runtime.conversations.names import without_files
from subbyte.runtime.text import spelt_out

if TYPE_CHECKING:
    from subbyte.runtime.chat.messages import Message

N_TURNS = 2
N_LINES, N_CHARACTERS = 12, 1200  # of a message that is shown


def show_last_turns(context: ReplContext) -> None:
    """Prints the last questions with their answers, and says how much came before them."""
    messages = everything(context.chat)
    shown = _last_turns(messages)
    earlier = len(messages) - len(shown)
    if earlier:
        context.say(f"({earlier} earlier message{'s' if earlier != 1 else ''}; /export md shows all)")
    for message in shown:
        show_message(context, message)


def _last_turns(messages: "Sequence[Message]") -> "Sequence[Message]":
    """From the last but one question on."""
    questions = [i for i, message in enumerate(messages) if message.role == "user"]
    return messages[questions[-N_TURNS:][0] :] if questions else messages[-N_TURNS:]


def show_message(context: ReplContext, message: "Message") -> None:
    """Prints a message as it would stand on the screen, a long one by its beginning."""
    if message.role == "user":
        names, text = without_files(message.content)
        if names:
            context.say(f"(with the text of {', '.join(names)})")
        _show(context, text, ">>> ", "... ")
        return
    if message.role == "tool":
        _show(context, message.content, f"{message.name}: ", "  ")
        return
    for call in message.tool_calls:
        context.line(f"calls {call.name}")
    if message.content.strip():
        _show(context, message.content, "", "", plain=context.plain)
    context.out.write("\n")


def _show(context: ReplContext, text: str, first: str, others: str, *, plain: bool = True) -> None:
    """Prints the first lines of a text behind marks; of one that has more, how many are left out."""
    lines = spelt_out(text.strip()).split("\n")
    left = len(lines) - N_LINES
    if left > 1:
        lines = lines[:N_LINES]
    begin = "\n".join((others if i else first) + line for i, line in enumerate(lines))
    if len(begin) > N_CHARACTERS:
        begin = begin[:N_CHARACTERS].rsplit(maxsplit=1)[0] + encodable(" …", " ...", context.out)
    shown = answer_text(context.out, plain=plain)
    shown.feed(begin)
    shown.end()
    if left > 1:
        context.line(f"{others}({left} more lines)")
