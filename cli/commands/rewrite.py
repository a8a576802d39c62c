"""`subbyte split`, `merge` and `set-metadata`: a model's file written anew, tensors as they are."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.commands.quantize import size
from subbyte.cli.terminal.console import MAX_CORPUS, human_size, read_bytes, write_line
from subbyte.cli.terminal.interrupt import one_interrupt
from subbyte.cli.terminal.loading import find_model
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.tables import Table
from subbyte.runtime.text import printable

if TYPE_CHECKING:
    from subbyte.runtime.records import Tabular


@click.command()
@options.model_argument()
@click.argument("prefix", type=click.Path(path_type=Path), metavar="PREFIX")
@click.option("--max-size", type=size, metavar="SIZE", help="The most that a file may have, such as 2GB.")
@click.option("--max-tensors", type=click.IntRange(1), metavar="N", help="The most tensors of a file.")
@click.option("--dry-run", is_flag=True, help="Only show what would be written.")
@options.overwrite_option
@options.output_option("text", "json", "csv", "md")
@options.verbose_option
@options.debug_option
@click.pass_context
def split(
    ctx: click.Context, model: str, prefix: Path, max_size: int | None, max_tensors: int | None, dry_run: bool,
    overwrite: bool, output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Split a model into several files.

    They are PREFIX-00001-of-00003.gguf and so on, as llama-gguf-split makes them, and each of them stands for the whole
    model. They appear when all are complete; the same command resumes a run that was interrupted.
    """
    from subbyte.runtime.rewrite.split import split as write

    if max_size is None and max_tensors is None:
        raise click.UsageError("give --max-size or --max-tensors, or both")
    path = find_model(model, verbose=verbose)
    with options.usage_errors(), one_interrupt(), ProgressBar() as bar:
        result = write(
            path, prefix, max_bytes=max_size, max_tensors=max_tensors, dry_run=dry_run, overwrite=overwrite,
            on_progress=bar.update,
        )  # fmt: skip
    rows = [(part.path, str(part.n_tensors), human_size(part.n_bytes)) for part in result.parts]
    facts = "nothing was written" if dry_run else f"{result.seconds:.1f} s"
    _print(output, options.command_line(ctx), result, Table.of("", ("file", "tensors>", "size>"), rows), facts)


@click.command()
@click.argument("model", metavar="PART")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@options.overwrite_option
@options.output_option("text", "json")
@options.verbose_option
@options.debug_option
@click.pass_context
def merge(ctx: click.Context, model: str, out: Path, overwrite: bool, output: options.Output, verbose: bool) -> None:
    """Merge the files of a split model into one.

    PART is any of the files; the others lie beside it, and all of them stay. OUT appears when it is complete; the same
    command resumes a run that was interrupted.
    """
    from subbyte.runtime.rewrite.merge import merge as write

    path = find_model(model, verbose=verbose)
    with one_interrupt(), ProgressBar() as bar:
        result = write(path, out, overwrite=overwrite, on_progress=bar.update)
    if output == "json":
        print_json({"command": options.command_line(ctx), **result.to_dict()})
    else:
        made_of = f"{result.n_tensors} tensors of {result.n_files} files"
        write_line(f"{out}: {made_of}, {human_size(result.n_bytes)}, {result.seconds:.1f} s")


@click.command("set-metadata")
@options.model_argument()
@click.argument("values", nargs=-1, metavar="[KEY=TYPE:VALUE]...")
@click.option("--out", type=click.Path(path_type=Path), metavar="OUT", help="The new file.")
@click.option("--in-place", is_flag=True, help="Replace MODEL itself, instead of --out.")
@click.option("--remove", multiple=True, metavar="KEY", help="A key to remove; may be repeated.")
@click.option(
    "--from-file", "texts", multiple=True, metavar="KEY=FILE",
    help="A text from a file, such as tokenizer.chat_template=chat.jinja; may be repeated.",
)  # fmt: skip
@options.overwrite_option
@options.output_option("text", "json", "csv", "md")
@options.verbose_option
@options.debug_option
@click.pass_context
def set_metadata(
    ctx: click.Context, model: str, values: tuple[str, ...], out: Path | None, in_place: bool, remove: tuple[str, ...],
    texts: tuple[str, ...], overwrite: bool, output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Write a model with other metadata.

    TYPE is int or float, which keep the type that the value has in the file; one of GGUF's: u8, i8, u16, i16, u32, i32,
    u64, i64, f32, f64, bool, str; or one of these in brackets, for an array in JSON: 'general.tags=[str]:["a", "b"]'.

    With --in-place a new file is written beside MODEL, and takes its place when it is complete: after a crash there is
    the one or the other. Of a split model the first file is written, with --out all of it as one file.
    """
    from subbyte.runtime.rewrite.set_metadata import set_metadata as write

    if (out is None) != in_place:
        raise click.UsageError("give either --out OUT or --in-place")
    path = Path(model) if in_place else find_model(model, verbose=verbose)
    changes = [*values, *map(_from_file, texts)]
    with options.usage_errors(), one_interrupt(), ProgressBar() as bar:
        result = write(
            path, changes, remove=remove, out=out, in_place=in_place, overwrite=overwrite, on_progress=bar.update
        )
    rows = [(change.key, change.was or "", change.now or "") for change in result.changes]
    facts = f"{result.out}: {human_size(result.n_bytes)}, {result.seconds:.1f} s"
    _print(output, options.command_line(ctx), result, Table.of("", ("key", "was", "now"), rows), facts)


def _from_file(text: str) -> str:
    key, equals, file = text.partition("=")
    if not equals:
        raise click.UsageError(f"--from-file {text!r:.80} is no KEY=FILE")
    try:
        return f"{key}=str:{read_bytes(file, MAX_CORPUS).decode('utf-8-sig')}"
    except UnicodeDecodeError:
        raise click.UsageError(f"--from-file: {printable(file)} is not UTF-8, so no text") from None


def _print(output: options.Output, command: str, result: "Tabular", table: Table, facts: str) -> None:
    if output == "json":
        print_json({"command": command, **result.to_dict()})  # type: ignore[attr-defined]
    elif output == "csv":
        print_csv(result.records())
    elif output == "md":
        print_markdown(table, facts)
    else:
        print_table(table)
        write_line(f"\n{facts}")
