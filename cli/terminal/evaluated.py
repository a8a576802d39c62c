"""The texts and conversations of a measurement, as -f and --chat give them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from subbyte.cli.terminal.console import MAX_CORPUS, read_bytes

if TYPE_CHECKING:
    from subbyte.runtime.evaluation.texts import EvalText


def read_evaluated(files: Sequence[str], chats: Sequence[str]) -> "Mapping[str, EvalText]":
    """What is in the files, by their names. Raises UsageError where there are none, ResourceError and OSError."""
    from subbyte.runtime.evaluation.texts import Conversations

    if not files and not chats:
        raise click.UsageError("give a text with -f, or conversations with --chat")
    names = _unique([*files, *chats])
    texts: list[EvalText] = [read_bytes(file, MAX_CORPUS) for file in files]
    conversations = [Conversations(read_bytes(file, MAX_CORPUS)) for file in chats]
    return dict(zip(names, [*texts, *conversations], strict=True))


def _unique(names: Sequence[str]) -> list[str]:
    """Names that differ: a file that is given again is told by how often it was by then."""
    found: list[str] = []
    for name in names:
        times, given = 1, name
        while given in found:
            times += 1
            given = f"{name} ({times})"
        found.append(given)
    return found
