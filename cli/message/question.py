"""One question for one answer: from the command line, from a pipe, or about the text of a pipe."""

import sys

import click

from subbyte.cli.message.files import with_files
from subbyte.cli.message.mentions import mentioned_files
from subbyte.cli.options import usage_errors
from subbyte.cli.terminal.console import note, read_text


def one_message(question: str | None) -> str:
    """The message to answer. question: from the command line, which what comes from a pipe is then the subject of."""
    if question is None:
        return _typed()
    if not question.strip():
        raise click.UsageError("the question is empty")
    text = "" if sys.stdin.isatty() else read_text("-").strip("\n")
    with usage_errors():
        files = mentioned_files(question)
    asked = f"{text}\n\n{question}" if text.strip() else question
    return with_files(files, asked)


def _typed() -> str:
    if sys.stdin.isatty():
        note("type the question, then Ctrl-D")
    question = read_text("-").strip()
    if not question:
        raise click.UsageError("no question on standard input")
    return question
