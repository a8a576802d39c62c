"""The last turns of a conversation that is resumed, as they stood on the screen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.keeper import everything
from subbyte.cli.screen.answer_text import answer_text
from subbyte.cli.terminal.console import encodable
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
    from subbyte.runtime.conversations.names import without_files

    names, content = without_files(message.content) if message.role == "user" else ((), message.content)
    if names:
        context.say(f"(with the text of {', '.join(names)})")
    begin, left_out = _cut(content.strip(), encodable("…", "...", context.out))
    if message.role in ("user", "tool"):
        first, others = (">>> ", "... ") if message.role == "user" else (f"{message.name}: ", "  ")
        context.text(spelt_out(first + begin.replace("\n", f"\n{others}")))
    else:
        for call in message.tool_calls:
            context.line(f"calls {call.name}")
        if begin:
            text = answer_text(context.out, plain=context.plain or context.constraint is not None)
            text.feed(begin)
            text.end()
    if left_out:
        context.line(left_out)
    if message.role not in ("user", "tool"):
        context.out.write("\n")


def _cut(text: str, mark: str) -> tuple[str, str]:
    """The text with its first lines alone, or words with a mark behind, and how much is left out then."""
    lines = text.split("\n")
    begin = "\n".join(lines[:N_LINES] if len(lines) > N_LINES + 1 else lines)
    if len(begin) > N_CHARACTERS:
        begin = f"{begin[:N_CHARACTERS].rsplit(maxsplit=1)[0]} {mark}"
        return begin, f"({len(text) - len(begin)} more characters)"
    return begin, f"({len(lines) - N_LINES} more lines)" if len(begin) < len(text) else ""
