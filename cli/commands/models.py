"""`subbyte pull` and `subbyte ls`: the models that are here, in whose folder ever, and how to get one."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import human_count, human_size, note, show_log, write_line
from subbyte.cli.terminal.loading import find_model
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.tables import first_columns, print_table
from subbyte.runtime.tables import Table

Models: TypeAlias = list[dict[str, Any]]
COLUMNS = ("name", "size>", "fits", "kind", "bits>", "weights>", "architecture", "where", "block types", "file")


@click.command()
@options.model_argument()
@options.output_option("text", "json")
@options.verbose_option
@options.debug_option
def pull(model: str, output: options.Output, verbose: bool) -> None:
    """Download a model and print the path of its file.

    MODEL is a name that `subbyte ls` shows, or hf:user/repo:QUANT. Of a download that was cut off, by Ctrl-C too, what
    has come is kept, and the same command goes on with it; the file is checked by its sha256.
    """
    try:
        path = find_model(model, verbose=verbose)
    except KeyboardInterrupt:
        note("stopped; what has come of it is kept, and the same command goes on")
        raise
    if output == "json":
        print_json({"name": model, "path": str(path)})
    else:
        write_line(str(path))


@click.command()
@options.output_option("text", "json", "csv", "md")
@options.verbose_option
@options.debug_option
def ls(output: options.Output, verbose: bool) -> None:
    """List models: those that are here, and those to download with `subbyte pull`.

    Here are subbyte's cache, the Hugging Face cache (HF_HOME), Ollama's store (OLLAMA_MODELS), LM Studio's folder and
    llama.cpp's cache (LLAMA_CACHE). Files are read where they are, and each name may be given as MODEL. Files that are
    no GGUF models and links that lead nowhere are passed over; -v names them.
    """
    from subbyte.runtime.catalog.catalog import catalog
    from subbyte.runtime.store.resolve import available

    show_log(verbose)
    here: Models = [model.to_dict() for model in catalog()]
    elsewhere: Models = [
        {"name": m.name, "size": m.size, "license": m.license, "base_model": m.base} for m in available()
    ]
    if output == "json":
        print_json({"models": here, "available": elsewhere})
        return
    if output == "csv":
        rows = [{**m, "types": _mix(m.get("types"))} for m in [*here, *elsewhere]]
        print_csv(rows, ("name", "size", "license", "base_model", "place", "path"))
        return
    table = Table.of("", COLUMNS, [_row(m) for m in [*here, *elsewhere]])
    print_markdown(table) if output == "md" else print_table(first_columns(table))


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a model, of one to download, too, which has only some of them."""
    n_params, bits = model.get("n_params"), model.get("bits_per_weight")
    return (
        model["name"],
        human_size(model["size"]),
        {True: "yes", False: "no", None: ""}[model.get("fits")],
        _kind(model),
        f"{bits:.2f}" if bits is not None else "",
        human_count(n_params) if n_params is not None else "",
        model.get("architecture") or "",
        model["place"] if "place" in model else f"subbyte pull {model['name']}",
        _mix(model.get("types")),
        model.get("path") or "",
    )


def _kind(model: dict[str, Any]) -> str:
    if model.get("problem"):
        return "damaged"
    if model.get("supported") is False:
        return "not run here"
    return {True: "base", False: "chat", None: ""}[model["base_model"]]


def _mix(types: Iterable[tuple[str, float]] | None) -> str:
    """The block types with their share of the bytes, from half a percent on: `Q4_K 71 %, Q6_K 29 %`."""
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in types or () if share >= 0.005)
