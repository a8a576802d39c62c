"""The chat at the terminal: reads a line, runs a slash command or streams an answer, again. It knows no model."""

from collections.abc import Callable
from functools import partial

from subbyte.cli.chat.answer import answer
from subbyte.cli.chat.blocks import unquote
from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.full_context import MAKES_ROOM
from subbyte.cli.chat.tools import refuse_open_calls
from subbyte.cli.slash import slash_commands
from subbyte.cli.slash.reading import complete_message
from subbyte.cli.terminal.interrupt import no_interrupt
from subbyte.errors import ContextOverflow, SubbyteError

HINT = "(Ctrl-D or /bye leaves, /help lists the commands)"


def run(context: ReplContext, read: Callable[[], str]) -> None:
    """Reads and answers until the user leaves.

    read: the next input; EOFError leaves, KeyboardInterrupt drops what was typed.
    """
    with (
        context.keyboard.quiet(),
        no_interrupt(),
    ):  # so that Ctrl-C, however often, only ever ends an answer or empties the line
        while True:
            try:
                _take(context, read())
            except KeyboardInterrupt:
                context.say(HINT)
            except EOFError:
                return
            except ContextOverflow as error:
                context.say(f"error: {error} ({MAKES_ROOM})")
            except (SubbyteError, ValueError) as error:
                context.say(f"error: {error}")
            except OSError as error:
                context.say(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}")
            finally:
                context.keep()


def _take(context: ReplContext, text: str) -> None:
    """Runs a slash command or answers a message; what stands in a block is always a message."""
    if slash_commands.is_command(text):
        slash_commands.run(context, text)
    elif (message := unquote(text)).strip():
        question = complete_message(context, message)
        refuse_open_calls(context)
        if context.second is None:
            answer(context, partial(context.chat.stream, question))
        else:
            from subbyte.cli.chat.two_models import answer_both

            answer_both(context, context.second, question)
        context.files.clear()
