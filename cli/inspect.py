"""`subbyte inspect`: what is in a GGUF file; also one that holds no model that subbyte could run."""

import sys
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.console import human_count, human_size, print_json, printable
from subbyte.cli.loading import find_model
from subbyte.cli.tables import Columns, print_table

if TYPE_CHECKING:
    from subbyte.runtime.summary import Summary


@click.command()
@options.model_argument()
@click.option("--tensors", is_flag=True, help="List the tensors, too.")
@options.json_option
@options.verbose_option
@options.debug_option
def inspect(model: str, tensors: bool, as_json: bool, verbose: bool) -> None:
    """Show a model's metadata, its mix of block types and the bits that a weight takes.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.gguf import GGUF
    from subbyte.runtime.summary import summarize

    with GGUF.open(find_model(model, verbose=verbose)) as gguf:
        summary = summarize(gguf)
    if as_json:
        facts = summary.to_dict()
        if not tensors:
            del facts["tensors"]
        print_json(facts)
        return
    _print_head(summary)
    _print_types(summary)
    print_table(
        "metadata", (("key", "left"), ("type", "left"), ("value", "left")),
        ((item.key, item.type, item.text) for item in summary.metadata),
    )  # fmt: skip
    if tensors:
        _print_tensors(summary)


def _print_head(summary: "Summary") -> None:
    bits = f"{summary.bits_per_weight:.2f} bits per weight" if summary.bits_per_weight is not None else "no weights"
    rows = (
        ("file", f"{summary.path} (GGUF version {summary.version})"),
        ("name", summary.name),
        ("architecture", summary.architecture),
        ("size", f"{human_size(summary.n_bytes)}, {human_count(summary.n_params)} weights, {bits}"),
        ("context", f"{summary.context_length} tokens" if summary.context_length else None),
        ("vocabulary", f"{summary.n_vocab} tokens" if summary.n_vocab else None),
    )
    for label, value in rows:
        print(f"{label:14}{printable(value or '(not given)')}")


def _print_types(summary: "Summary") -> None:
    columns: Columns = (("type", "left"), ("tensors", "right"), ("weights", "right"), ("size", "right"), ("share", "right"))
    rows = (
        (share.type, str(share.n_tensors), human_count(share.n_weights), human_size(share.n_bytes), f"{share.share:.1%}")
        for share in summary.types
    )
    print_table("types", columns, rows)


def _print_tensors(summary: "Summary") -> None:
    columns: Columns = (("name", "left"), ("type", "left"), ("shape", "right"), ("bytes", "right"))
    rows = (
        (tensor.name, tensor.type, " x ".join(map(str, tensor.shape)), str(tensor.n_bytes)) for tensor in summary.tensors
    )
    print_table("tensors", columns, rows)
