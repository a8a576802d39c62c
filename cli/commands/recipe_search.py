"""`subbyte recipe search`: the best mixture of block types for a size, found by measuring."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.commands.quantize import size as bytes_of
from subbyte.cli.terminal.console import note, write_line
from subbyte.cli.terminal.evaluated import read_evaluated
from subbyte.cli.terminal.interrupt import one_interrupt, run_measurement
from subbyte.cli.terminal.loading import open_model
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table
from subbyte.errors import SubbyteError
from subbyte.runtime.text import one_line, printable

if TYPE_CHECKING:
    from subbyte.runtime.search.result import RecipeSearch
    from subbyte.runtime.search.saved import Place


def words(text: str) -> tuple[str, ...]:
    """Reads names with commas between."""
    return tuple(word.strip().upper() for word in text.split(","))


@click.command()
@click.argument("source", metavar="SRC")
@options.texts_option(required=False)
@options.chat_option("their last answers are scored")
@click.option("--size", "sizes", type=bytes_of, multiple=True, metavar="SIZE", help="The file's most bytes: 2.5GB.")
@click.option("--bits", type=float, multiple=True, metavar="N", help="The most bits per weight.")
@click.option("--kld", "klds", type=float, multiple=True, metavar="NATS", help="The most KL divergence.")
@click.option("--imatrix", metavar="FILE", help="Importance matrix; default: one is computed on the texts.")
@click.option(
    "--types", type=words, metavar="TYPE,...",
    help="Block types to choose from; default: those that llama.cpp's releases have known since March 2024.",
)  # fmt: skip
@click.option(
    "--fast-on",
    metavar="ISA",
    help="Leave out types that larger ones outrun on this machine with this instruction set: avx2.",
)
@options.ctx_size_option(default=256, show_default=True, help="Tokens of a passage.")
@click.option(
    "--passages", type=click.IntRange(2), default=16, show_default=True, metavar="N",
    help="Passages that are measured on; as many more prove what was found.",
)  # fmt: skip
@click.option("--step", type=click.IntRange(1), default=4, show_default=True, help="Score one prediction in so many.")
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, metavar="N",
    help="Whole mixtures tried at most for each target.",
)  # fmt: skip
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("."), metavar="FOLDER", help="Where the results go."
)
@click.option("--cache", type=click.Path(path_type=Path), metavar="FOLDER", help="Keeps what other searches can use.")
@click.option(
    "--cache-size", type=bytes_of, default="20GB", show_default=True, metavar="SIZE",
    help="Most bytes of encoded tensors in the cache.",
)  # fmt: skip
@options.threads_option()
@options.overwrite_option
@options.output_option("text", "json", "csv", "md")
@options.override_kv_option
@options.verbose_option
@options.debug_option
@click.pass_context
def search(
    ctx: click.Context, source: str, files: tuple[str, ...], chats: tuple[str, ...], sizes: tuple[int, ...],
    bits: tuple[float, ...], klds: tuple[float, ...], imatrix: str | None, types: tuple[str, ...] | None,
    fast_on: str | None, n_ctx: int, passages: int, step: int, rounds: int, folder: Path, cache: Path | None,
    cache_size: int, threads: int | None, overwrite: bool, output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Search the best recipe for a size: the mixture of block types that diverges least from SRC.

    Measures what each tensor costs in KL divergence on passages of the texts, gives types by that, and measures the
    mixture on passages that it held out. Writes SRC-TARGET.toml, the evidence as SRC-TARGET.json, and SRC.imatrix
    where it computed one. --size, --bits and --kld may be repeated. What was measured is kept: the same command resumes
    a search that was interrupted, and another size takes of it what it can.

    SRC is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT; best in floats.
    """
    from subbyte.runtime.search.saved import Place
    from subbyte.runtime.search.search import RecipeSearchMeasurement

    texts = read_evaluated(files, chats)
    loaded = open_model(source, threads, verbose=verbose)
    with loaded, options.usage_errors(), one_interrupt(), ProgressBar() as bar:
        with RecipeSearchMeasurement(
            loaded, texts, size=sizes, bits=bits, kld=klds, imatrix=imatrix, types=types, fast_on=fast_on,
            n_ctx=n_ctx, passages=passages, step=step, rounds=rounds, cache=cache, cache_bytes=cache_size,
        ) as measurement:  # fmt: skip
            place = Place(folder, loaded.path.stem, overwrite)
            place.check(measurement.targets, imatrix=imatrix is None)
            kept = "what was measured is kept, the same command goes on"
            with_overwrite = "" if overwrite else " with --overwrite"
            try:
                done = run_measurement(measurement, lambda step: bar.update(*step), f"; {kept}{with_overwrite}")
            except KeyboardInterrupt:
                note(f"interrupted: {kept}", verbose=True)
                raise
            except SubbyteError:  # one target that can't be reached takes nothing from the others
                if measurement.n_done:
                    place.save(measurement.result(), measurement.imatrix_path if imatrix is None else None)
                    note(f"{measurement.coverage} were found, and are in {printable(str(place.folder))}", verbose=True)
                raise
            result = measurement.result()
            place.save(result, measurement.imatrix_path if imatrix is None else None)
    _print(output, options.command_line(ctx), result, place, imatrix or str(place.imatrix))
    if not done:
        raise KeyboardInterrupt


def _print(output: options.Output, command: str, result: "RecipeSearch", place: "Place", imatrix: str) -> None:
    if output == "json":
        files = [str(place.recipe(of.target)) for of in result.found]
        print_json({"command": command, "recipes": files, **result.to_dict()})
    elif output == "csv":
        print_csv(result.records())
    elif output == "md":
        print_markdown(result.table(), result.notes(), f"    {one_line(command)}")
    else:
        print_table(result.table())
        write_line(f"\n{result.notes()}")
        for of in result.found:
            recipe, out = place.recipe(of.target), f"{place.stem}-{of.target}.gguf"
            line = ["subbyte", "quantize", result.source, out, str(recipe), "--imatrix", imatrix]
            write_line(f"    {one_line(shlex.join(line))}")
