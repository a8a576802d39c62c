"""A text in the user's editor, $VISUAL or $EDITOR."""

import signal

import click

from subbyte.cli.repl.context import ReplContext


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
