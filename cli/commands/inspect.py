"""`subbyte inspect`: what is in a GGUF file; also one that holds no model that subbyte could run."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import human_count, human_size, print_json, printable
from subbyte.cli.terminal.heatmap import print_heatmap
from subbyte.cli.terminal.loading import find_model
from subbyte.cli.terminal.tables import print_table

if TYPE_CHECKING:
    from subbyte.runtime.gguf.model_file import GGUF
    from subbyte.runtime.inspect.heatmap import By
    from subbyte.runtime.inspect.summary import Summary


@click.command()
@options.model_argument()
@click.option("--tensors", is_flag=True, help="List the tensors, too.")
@click.option("--heatmap", is_flag=True, help="Layers by kinds of tensors instead, coloured, and the sizes of kinds.")
@click.option(
    "--by", type=click.Choice(["bits", "type"]), default="bits", show_default=True,
    help="What the colours of the heatmap tell: bits per weight, or block types.",
)  # fmt: skip
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the heatmap as a picture."
)
@options.json_option
@options.verbose_option
@options.debug_option
def inspect(model: str, tensors: bool, heatmap: bool, by: "By", svg: Path | None, as_json: bool, verbose: bool) -> None:
    """Show what is in a model file.

    Its metadata, the mix of block types, the bits that a weight takes.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.gguf.model_file import GGUF
    from subbyte.runtime.inspect.summary import summarize

    if tensors and heatmap:
        raise click.UsageError("--tensors and --heatmap exclude each other")
    with GGUF.open(find_model(model, verbose=verbose)) as gguf:
        if heatmap or svg is not None:
            _show_heatmap(gguf, by, svg, heatmap, as_json)
            return
        summary = summarize(gguf)
    if as_json:
        facts = summary.to_dict()
        if not tensors:
            del facts["tensors"]
        print_json(facts)
        return
    _print_head(summary)
    if summary.types:
        _print_types(summary)
    print_table("metadata", ("key", "type", "value"), ((of.key, of.type, of.text) for of in summary.metadata))
    if tensors:
        _print_tensors(summary)


def _show_heatmap(gguf: "GGUF", by: "By", svg: Path | None, shown: bool, as_json: bool) -> None:
    from subbyte.runtime.inspect.heatmap import chart

    heatmap = chart(gguf)
    if svg is not None:
        svg.write_text(heatmap.svg(by), encoding="utf-8")
    if as_json:
        print_json(heatmap.to_dict())
    elif shown:
        print_heatmap(heatmap, by)


def _print_head(summary: "Summary") -> None:
    bits = f"{summary.bits_per_weight:.2f} bits per weight" if summary.bits_per_weight is not None else "no weights"
    files = f" in {summary.n_files} files" if summary.n_files > 1 else ""
    rows = (
        ("file", f"{summary.path} (GGUF version {summary.version})"),
        ("name", summary.name),
        ("architecture", summary.architecture),
        ("size", f"{human_size(summary.n_bytes)}{files}, {human_count(summary.n_params)} weights, {bits}"),
        ("context", f"{summary.context_length} tokens" if summary.context_length else None),
        ("vocabulary", f"{summary.n_vocab} tokens" if summary.n_vocab else None),
    )
    for label, value in rows:
        print(f"{label:14}{printable(value or '(not given)')}")


def _print_types(summary: "Summary") -> None:
    rows = (
        (of.type, str(of.n_tensors), human_count(of.n_weights), human_size(of.n_bytes), f"{of.share:.1%}")
        for of in summary.types
    )
    print_table("types", ("type", "tensors>", "weights>", "size>", "share>"), rows)


def _print_tensors(summary: "Summary") -> None:
    rows = ((of.name, of.type, " x ".join(map(str, of.shape)), str(of.n_bytes)) for of in summary.tensors)
    print_table("tensors", ("name", "type", "shape>", "bytes>"), rows)
