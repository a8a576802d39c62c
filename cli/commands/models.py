"""`subbyte pull` and `subbyte ls`: the models installed here and how to get one."""

from typing import Any, TypeAlias

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import human_size, write_line
from subbyte.cli.terminal.loading import find_model
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.tables import Table

Models: TypeAlias = list[dict[str, Any]]


@click.command()
@options.model_argument()
@options.output_option("text", "json")
@options.verbose_option
@options.debug_option
def pull(model: str, output: options.Output, verbose: bool) -> None:
    """Download a model and print the path of its file.

    MODEL is a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    path = find_model(model, verbose=verbose)
    if output == "json":
        print_json({"name": model, "path": str(path)})
    else:
        write_line(str(path))


@click.command()
@options.output_option("text", "json", "csv", "md")
@options.debug_option
def ls(output: options.Output) -> None:
    """List models: those installed, and those to download with `subbyte pull`."""
    from subbyte.runtime.loading import is_base_model
    from subbyte.runtime.store.resolve import available, installed

    here: Models = [
        {"name": m.name, "size": m.size, "license": m.license, "base_model": is_base_model(m.path), "path": str(m.path)}
        for m in installed()
    ]
    elsewhere: Models = [
        {"name": m.name, "size": m.size, "license": m.license, "base_model": m.base} for m in available()
    ]
    if output == "json":
        print_json({"models": here, "available": elsewhere})
        return
    if output == "csv":
        print_csv([*here, *elsewhere], ("name", "size", "license", "base_model", "path"))
        return
    rows = [_row(m, m["path"]) for m in here] + [_row(m, f"not installed: subbyte pull {m['name']}") for m in elsewhere]
    table = Table.of("", ("name", "size>", "license", "kind", "file"), rows)
    print_markdown(table) if output == "md" else print_table(table)


def _row(model: dict[str, Any], file: str) -> tuple[str, ...]:
    kind = "base model" if model["base_model"] else ""
    return model["name"], human_size(model["size"]), model["license"] or "", kind, file
