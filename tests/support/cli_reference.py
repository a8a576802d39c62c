"""docs/cli.md from the commands: `.venv/bin/python tests/support/cli_reference.py` writes it, `--check` compares.

The words are those of `--help`, laid out here: click's own layout depends on its version and on the terminal.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
from fake_chat import talk
from paths import ROOT

from subbyte.cli.main import cli

PAGE = ROOT / "docs/cli.md"
BEGIN = "<!-- from the code, by .venv/bin/python tests/support/cli_reference.py -->\n"
END = "<!-- end -->\n"
WIDTH = 140


def page() -> str:
    """What stands between BEGIN and END."""
    with tempfile.TemporaryDirectory() as folder:
        slash_commands = talk(Path(folder), "/help")
    chapters = [chapter(name, command) for name, command in commands(cli, "subbyte")]
    return "\n".join([*chapters, f"## In the chat\n\n```\n{slash_commands}```\n"])


def commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    """All commands by what is typed, those of a group behind it, in order of the alphabet."""
    yield prefix, group
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def chapter(name: str, command: click.Command) -> str:
    """A command: its usage, its help, its options."""
    arguments = [str(p.metavar) for p in command.params if isinstance(p, click.Argument)]
    usage = " ".join([name, "[OPTIONS]", *arguments, *(["COMMAND"] if isinstance(command, click.Group) else [])])
    parts = [f"## {name}", f"```\n{usage}\n```", *paragraphs(command.help or "")]
    options = [option(p) for p in command.params if isinstance(p, click.Option)]
    return "\n\n".join([*parts, "\n".join(options)] if options else parts) + "\n"


def paragraphs(text: str) -> Iterator[str]:
    """Filled, but for those that are indented."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        yield paragraph if paragraph.startswith(" ") else fill(" ".join(paragraph.split()))


def option(of: click.Option) -> str:
    """An item of a list: names, what they take, what for, the default."""
    names = [f"`{name}`" for name in (*of.opts, *of.secondary_opts)]
    if not (of.is_flag or of.count):
        names[-1] = f"{names[-1][:-1]} {takes(of)}`"
    notes = [str(of.help)]
    if of.required:
        notes.append("Required.")
    if of.show_default:
        notes.append(f"Default: {of.default}.")
    return fill(f"- {', '.join(names)}: {' '.join(notes)}", "  ")


def takes(of: click.Option) -> str:
    return (
        "|".join(map(str, of.type.choices)) if isinstance(of.type, click.Choice) else of.metavar or of.type.name.upper()
    )


def fill(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def main(arguments: list[str]) -> None:
    text = PAGE.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    if arguments == ["--check"]:
        sys.exit(text[begin:end] != page())
    PAGE.write_text(text[:begin] + page() + text[end:])


if __name__ == "__main__":
    main(sys.argv[1:])
