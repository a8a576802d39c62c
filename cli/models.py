"""`subbyte pull` and `subbyte ls`: the models at hand and how to get one."""

import click

from subbyte.cli import options
from subbyte.cli.console import human_size, note, print_json
from subbyte.cli.loading import find_model
from subbyte.cli.tables import print_table


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
    """List the models that are here."""
    from subbyte.runtime import store

    models = store.installed()
    if as_json:
        print_json({"models": [{"name": m.name, "path": str(m.path), "size": m.size} for m in models]})
        return
    if not models:
        note("no models yet; subbyte pull NAME fetches one")
        return
    print_table("", ("name", "size>", "file"), ((m.name, human_size(m.size), str(m.path)) for m in models))
