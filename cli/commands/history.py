"""`subbyte history`: the conversations that `subbyte chat` has kept."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli import options
from subbyte.cli.chat.keeper import FILE, data_folder
from subbyte.cli.screen.words import WordWrap
from subbyte.cli.terminal.columns import wrapped
from subbyte.cli.terminal.console import local_time, note, terminal_width, write_line
from subbyte.cli.terminal.output import print_json
from subbyte.cli.terminal.tables import fits, print_table
from subbyte.runtime.tables import Table
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from subbyte.runtime.conversations.records import Conversation, KeptMessage
    from subbyte.runtime.conversations.store import ConversationStore

INDENT, MIN_LAST = "    ", 20  # columns that a last column of free text needs to be read
COLUMNS = ("name", "changed", "model", "messages>", "first words")

limit_option = click.option(
    "-n", "--limit", type=click.IntRange(0), default=50, show_default=True, metavar="N",
    help="At most N conversations; 0: all.",
)  # fmt: skip
branch_option = click.option(
    "--branch", type=click.IntRange(1), metavar="N", help="Another branch than the one in use, by its number."
)


def name_argument(**extra: Any) -> options.Decorator:
    """The conversation."""
    return click.argument("name", metavar="NAME", **extra)


@click.group(invoke_without_command=True)
@limit_option
@options.output_option("text", "json")
@options.debug_option
@click.pass_context
def history(ctx: click.Context, limit: int, output: options.Output) -> None:
    """List, search, show, export or delete kept conversations; without a command, list them.

    They are kept by `subbyte chat`, in one file in the user's data folder: `subbyte chat --session NAME` goes on.
    """
    if ctx.invoked_subcommand is not None:
        return
    store = _store()
    found = store.recent(limit or None)
    if output == "json":
        print_json({"conversations": [each.to_dict() for each in found]})
        return
    if not found:
        note("no conversation is kept yet")
        return
    _print(COLUMNS, [_row(each) for each in found], "{0}  {1}  ({2}, {3} messages)  {4}")
    if (more := store.count() - len(found)) > 0:
        note(f"{more} more; -n 0 lists all")


@history.command()
@click.argument("words", nargs=-1, required=True, metavar="WORDS")
@limit_option
@options.output_option("text", "json")
@options.debug_option
def search(words: tuple[str, ...], limit: int, output: options.Output) -> None:
    """List conversations with a message that has all these words, or words that begin so."""
    with options.usage_errors():
        hits = _store().search(" ".join(words), limit or None)
    if output == "json":
        print_json({"hits": [each.to_dict() for each in hits]})
        return
    if not hits:
        note("no conversation has these words")
        return
    rows = [
        (each.conversation.name, local_time(each.time), each.role, one_line(each.excerpt(" ".join(words).split())))
        for each in hits
    ]
    _print(("name", "time", "role", "text"), rows, "{0}  {1}  {2}: {3}")


@history.command()
@name_argument()
@branch_option
@options.output_option("text", "json")
@options.debug_option
def show(name: str, branch: int | None, output: options.Output) -> None:
    """Print a conversation."""
    from subbyte.runtime.conversations.export import to_text

    store = _store()
    found, kept, n_branches = _read(store, name, branch)
    if output == "json":
        messages = [{**each.message.to_dict(), "time": each.time, "model": each.model} for each in kept]
        print_json({**found.to_dict(), "branches": n_branches, "messages": messages})
        return
    text = to_text(store.system(found, kept), kept).rstrip("\n")
    if sys.stdout.isatty():
        wrap, width = WordWrap(), terminal_width(sys.stdout)
        text = wrap.feed(text, width) + wrap.end(width)
    write_line(text)
    if n_branches > 1:
        note(f"{found.name} has {n_branches} branches; --branch N shows another one")


@history.command()
@name_argument()
@branch_option
@options.output_option("md", "json")
@click.option(
    "-f", "--file", type=click.Path(path_type=Path), metavar="FILE", help="Where it is written; default: stdout."
)
@options.overwrite_option
@options.debug_option
def export(name: str, branch: int | None, output: options.Output, file: Path | None, overwrite: bool) -> None:
    """Write a conversation as Markdown, or as JSON that the chat's /load reads."""
    from subbyte.runtime.conversations.export import exported, write_export

    store = _store()
    found, kept, _ = _read(store, name, branch)
    text = exported(output, found.name, store.system(found, kept), kept)
    if file is None:
        write_line(text.rstrip("\n"))
    else:
        write_export(file, output, text, overwrite=overwrite)


@history.command()
@name_argument(nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.output_option("text", "json")
@options.debug_option
def delete(name: tuple[str, ...], yes: bool, output: options.Output) -> None:
    """Delete conversations, after a question."""
    store = _store()
    with options.usage_errors():
        found = [store.find(each) for each in name]
    deleted = []
    for each in found:
        if yes or click.confirm(f"delete {one_line(each.name)}, {each.n_messages} messages?", err=True):
            store.delete(each)
            deleted.append(each.name)
    if output == "json":
        print_json({"deleted": deleted})


def _store() -> "ConversationStore":
    """The kept conversations, open until the command ends."""
    from subbyte.runtime.conversations.store import ConversationStore

    return click.get_current_context().with_resource(ConversationStore(data_folder() / FILE))


def _read(store: "ConversationStore", name: str, branch: int | None) -> "tuple[Conversation, list[KeptMessage], int]":
    """A conversation, the messages of one of its branches, and how many of those it has."""
    with options.usage_errors():
        found = store.find(name)
        branches = store.branches(found)
        if branch is not None and branch > len(branches):
            raise ValueError(f"--branch is {branch}, but {found.name} has {len(branches)}")
    head = None if branch is None else branches[branch - 1].head
    return found, store.messages(found, head), len(branches)


def _print(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], line: str) -> None:
    """Prints a table, or where the terminal has no room for it a few lines for each row, by the form `line`."""
    table = Table.of("", columns, rows)
    if fits(table, MIN_LAST):
        print_table(table)
        return
    for row in rows:
        first, *others = wrapped(line.format(*row), max(terminal_width(sys.stdout) - 1 - len(INDENT), MIN_LAST))
        for text in (first, *(INDENT + other for other in others)):
            write_line(text)


def _row(conversation: "Conversation") -> tuple[str, ...]:
    of = conversation
    return of.name, local_time(of.changed), of.model, str(of.n_messages), of.first
