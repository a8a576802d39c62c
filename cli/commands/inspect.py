"""`subbyte inspect`: what is in a GGUF file; also one that holds no model that subbyte could run."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.terminal.loading import find_model

if TYPE_CHECKING:
    from subbyte.runtime.inspect.heatmap import By


@click.command()
@options.model_argument()
@click.option("--tensors", is_flag=True, help="Also list the tensors.")
@click.option("--heatmap", is_flag=True, help="Instead, a coloured grid of layers by kinds of tensor, and their sizes.")
@click.option(
    "--by", type=click.Choice(["bits", "type"]), default="bits", show_default=True,
    help="Colour the heatmap by bits per weight or by block type.",
)  # fmt: skip
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the heatmap as an SVG image."
)
@options.output_option("text", "json", "csv", "md")
@options.verbose_option
@options.debug_option
def inspect(
    model: str, tensors: bool, heatmap: bool, by: "By", svg: Path | None, output: options.Output, verbose: bool
) -> None:
    """Show what a model file contains.

    Its metadata, the mix of block types, the bits per weight. As CSV: the block types, with --tensors the tensors, with
    --heatmap the matrices.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.cli.commands.inspect_output import print_heatmap, print_summary
    from subbyte.runtime.gguf.model_file import GGUF

    if tensors and heatmap:
        raise click.UsageError("--tensors and --heatmap exclude each other")
    with GGUF.open(find_model(model, verbose=verbose)) as gguf:
        if not heatmap and svg is None:
            from subbyte.runtime.inspect.summary import summarize

            print_summary(output, summarize(gguf), tensors)
            return
        from subbyte.runtime.inspect.heatmap import chart

        picture = chart(gguf)
    if svg is not None:
        svg.write_text(picture.svg(by), encoding="utf-8")
    if heatmap or output != "text":
        print_heatmap(output, picture, by)
