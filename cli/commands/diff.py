"""`subbyte diff`: what differs between two GGUF files; also those that subbyte could not run."""

import sys
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import print_json, printable
from subbyte.cli.terminal.loading import find_model
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table

if TYPE_CHECKING:
    from subbyte.runtime.inspect.diff import Diff

DIFFERENT = 1  # the exit code, as diff(1) has it; what went wrong ends with 2 and more, as everywhere
COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--weights", is_flag=True, help="Also measure how far B's weights are from A's, where they differ.")
@click.option("--tensors", is_flag=True, help="With --weights: tensor by tensor.")
@options.output_options
@options.verbose_option
@options.debug_option
@click.pass_context
def diff(ctx: click.Context, a: str, b: str, weights: bool, tensors: bool, as_json: bool, verbose: bool) -> None:
    """Show what differs between two model files.

    Metadata, chat template, tokenizer, tensors and their types, shapes and bytes; what is the same is not shown. The
    order of keys and tensors does not count. Ends with exit code 0 if nothing differs, 1 if something does.

    A and B are GGUF files, names that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.inspect.diff import diff as compare

    if tensors and not weights:
        raise click.UsageError("--tensors goes with --weights")
    paths = [find_model(name, verbose=verbose) for name in (a, b)]
    with ProgressBar() as bar:
        found = compare(*paths, weights=weights, on_progress=bar.update)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found, tensors)
    if not found.same:
        ctx.exit(DIFFERENT)


def _print(found: "Diff", each_tensor: bool) -> None:
    from subbyte.runtime.inspect.diff_tables import tables, title_of

    for table in tables(found, each_tensor=each_tensor):
        print_table(*table)
    for text in found.texts:
        print()
        _print_lines([title_of(text), *text.lines])
    if found.same:
        print("\nno difference: metadata and tensors are the same, to the last byte")


def _print_lines(lines: list[str]) -> None:
    r"""Prints lines, + and - in colours where there are some; control characters as `\x1b`."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    with console.capture() as capture:
        for line in lines:
            console.print(Text(printable(line), style=COLOURS.get(line[:1], "")), soft_wrap=True)
    sys.stdout.write(capture.get())
