"""`subbyte pull` and `subbyte ls`: the models at hand and how to get one."""

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import human_size, print_json
from subbyte.cli.terminal.loading import find_model
from subbyte.cli.terminal.tables import print_table


@click.command()
@options.model_argument()
@options.verbose_option
@options.debug_option
def pull(model: str, verbose: bool) -> None:
    """Fetch a model, and print where its file is.

    MODEL is a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    print(find_model(model, verbose=verbose))


@click.command()
@options.json_option
@options.debug_option
def ls(as_json: bool) -> None:
    """List the models that are here, and those that can be fetched by name."""
    from subbyte.runtime.store.resolve import available, installed

    here, elsewhere = installed(), available()
    if as_json:
        models = [{"name": m.name, "size": m.size, "license": m.license, "path": str(m.path)} for m in here]
        others = [{"name": m.name, "size": m.size, "license": m.license} for m in elsewhere]
        print_json({"models": models, "available": others})
        return
    rows = [(m.name, human_size(m.size), m.license or "", str(m.path)) for m in here]
    rows += [(m.name, human_size(m.size), m.license, f"not here: subbyte pull {m.name}") for m in elsewhere]
    print_table("", ("name", "size>", "license", "file"), rows)
