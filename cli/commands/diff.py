"""`subbyte diff`: what differs between two GGUF files; also those that subbyte could not run."""

from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import rich_console, styled, write_line, write_styled
from subbyte.cli.terminal.loading import find_model
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.tables import Table
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from subbyte.runtime.inspect.diff import Diff

DIFFERENT = 1  # the exit code, as diff(1) has it; what went wrong ends with 2 and more, as everywhere
NO_DIFFERENCE = "no difference: metadata and tensors are the same, to the last byte"
COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--weights", is_flag=True, help="Also measure the relative error of B's weights from A's.")
@click.option("--tensors", is_flag=True, help="With --weights: a row per tensor.")
@options.output_option("text", "json", "csv", "md")
@options.verbose_option
@options.debug_option
@click.pass_context
def diff(
    ctx: click.Context, a: str, b: str, weights: bool, tensors: bool, output: options.Output, verbose: bool
) -> None:
    """Show the differences between two model files.

    Metadata, chat template, tokenizer, tensors and their types, shapes and bytes; the order of keys and tensors does
    not count. The exit code is 0 if nothing differs, 1 if something does.

    A and B are GGUF files, names that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.inspect.diff import diff as compare

    if tensors and not weights:
        raise click.UsageError("--tensors goes with --weights")
    paths = [find_model(name, verbose=verbose) for name in (a, b)]
    with ProgressBar() as bar:
        differences = compare(*paths, weights=weights, on_progress=bar.update)
    if output == "json":
        print_json(differences.to_dict())
    elif output == "csv":
        print_csv(differences.records(), ("part", "name", "a", "b"))
    elif output == "md":
        _print_markdown(differences, tensors)
    else:
        _print(differences, tensors)
    if not differences.same:
        ctx.exit(DIFFERENT)


def _print(differences: "Diff", each_tensor: bool) -> None:
    from subbyte.runtime.inspect.diff import tables, title_of

    for table in tables(differences, each_tensor=each_tensor):
        print_table(table)
    for text in differences.texts:
        write_line()
        _print_lines([title_of(text), *text.lines])
    if differences.same:
        write_line(f"\n{NO_DIFFERENCE}")


def _print_markdown(differences: "Diff", each_tensor: bool) -> None:
    from subbyte.runtime.inspect.diff import tables, title_of

    parts: list[Table | str] = [*tables(differences, each_tensor=each_tensor)]
    for text in differences.texts:
        parts += [one_line(title_of(text)), "\n".join(f"    {line}" for line in text.lines)]
    print_markdown(*parts, *([NO_DIFFERENCE] if differences.same else []))


def _print_lines(lines: list[str]) -> None:
    """Prints lines, + and - in colours where there are some."""
    write_styled(rich_console(), (styled(line, COLOURS.get(line[:1], "")) for line in lines), padded=False)
