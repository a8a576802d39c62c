"""What the chat asks its user beside messages: yes or no, and a text from the editor, $VISUAL or $EDITOR."""

import signal

import click

from subbyte.cli.chat.context import ReplContext


def confirmed(context: ReplContext, question: str) -> bool:
    """Whether the user says yes; Ctrl-C, Ctrl-D, Enter and anything else is no."""
    try:
        answer = context.ask(f"{question} [y/N] ")
    except (KeyboardInterrupt, EOFError):
        return False
    return answer.strip().lower() in ("y", "yes")


def edited(context: ReplContext, text: str) -> str | None:
    """The text as the editor leaves it; None where it was not saved. Raises ValueError where the editor fails."""
    before = signal.signal(
        signal.SIGINT, lambda *_: None
    )  # Ctrl-C is for the editor, which would inherit an ignored one
    try:
        with context.keyboard.lent():
            return click.edit(text, extension=".md")
    except click.ClickException as error:
        raise ValueError(f"{error.format_message()}; set EDITOR to another one") from None
    finally:
        signal.signal(signal.SIGINT, before)
