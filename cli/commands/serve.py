"""`subbyte serve`: models behind HTTP, by OpenAI's and Anthropic's APIs, and a page to chat in."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import note, write_line
from subbyte.cli.terminal.loading import find_model
from subbyte.errors import ResourceError

if TYPE_CHECKING:
    from subbyte.runtime.types import Activations, CacheType

MIB = 1 << 20


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
    help="Where to listen; beyond this machine only with an API key, or --open.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: one that is free.")
@click.option(
    "--api-key", "api_keys", multiple=True, metavar="KEY", envvar="SUBBYTE_API_KEY",
    help="A key that requests must bring; may be repeated. Better in the variable SUBBYTE_API_KEY, which no list of "
    "processes shows.",
)  # fmt: skip
@click.option("--open", "open_", is_flag=True, help="Listen beyond this machine without a key.")
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name by which clients reach the server, as a proxy's; may be repeated.",
)
@click.option(
    "--allow-origin", "origins", multiple=True, metavar="ORIGIN",
    help="Where pages come from that may ask, as https://example.org; * is anywhere. Those of this machine may.",
)  # fmt: skip
@click.option(
    "--parallel", "n_parallel", type=click.IntRange(1, 256), default=8, show_default=True, metavar="N",
    help="Answers that each model makes at once.",
)  # fmt: skip
@click.option(
    "--queue", "n_waiting", type=click.IntRange(1, 4096), default=64, show_default=True, metavar="N",
    help="Answers that may wait beside them; more are told to come back later (429).",
)  # fmt: skip
@click.option(
    "--memory", "memory", type=click.IntRange(64), metavar="MIB",
    help="For all models with their conversations; those that nobody uses make room for others. Default: what is free.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(1), default=1800.0, show_default=True, metavar="SECONDS",
    help="How long an answer may take.",
)  # fmt: skip
@options.ctx_size_option(help="Context size of each conversation in tokens; default: the model's, as memory allows.")
@options.threads_option()
@options.activations_option(None)
@options.cache_type_option
@options.verbose_option
@options.debug_option
def serve(
    models: tuple[str, ...], host: str, port: int, api_keys: tuple[str, ...], open_: bool, hosts: tuple[str, ...],
    origins: tuple[str, ...], n_parallel: int, n_waiting: int, memory: int | None, timeout: float, n_ctx: int | None,
    threads: int | None, activations: "Activations | None", cache_type: "CacheType", verbose: bool,
) -> None:  # fmt: skip
    """Serve models to clients of OpenAI's and Anthropic's APIs, and a page to chat in.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT; clients name it by that, a file without
    its folder and suffix, or by NAME where it is given as NAME=MODEL. The first is loaded at once, the others when they
    are asked for. '*=MODEL' answers to all names that no other has. Needs `pip install 'subbyte[serve]'`.
    """
    try:
        from subbyte.runtime.server.models import ModelPool
        from subbyte.runtime.server.serve import run_server
        from subbyte.runtime.server.settings import ServerSettings
    except ImportError as error:
        raise ResourceError(f"serving needs {error.name}: pip install 'subbyte[serve]'") from None
    with options.usage_errors():
        settings = ServerSettings(
            host, port, api_keys, hosts, origins, open_, n_parallel, n_waiting, n_ctx, cache_type, activations,
            None if memory is None else memory * MIB, timeout,
        )  # fmt: skip
    paths: dict[str, Path] = {}
    for given in models:
        name, model = _named(given)
        if name in paths:
            raise click.UsageError(f"two models have the name {name}: give one another, as other={model}")
        paths[name] = find_model(model, verbose=verbose)

    def ready(port: int) -> None:
        where = f"http://{'[' + host + ']' if ':' in host else host}:{port}"
        text = f"serving {', '.join(paths)} at {where}/v1, a page to chat in at {where}/ (Ctrl-C ends)"
        write_line(text, stream=sys.stderr)

    run_server(ModelPool(paths, settings, threads), settings, ready, log=verbose)
    note("the server has ended", verbose=verbose)


def _named(given: str) -> tuple[str, str]:
    """The name that clients use, and the model."""
    name, equals, model = given.partition("=")
    if equals and name and not Path(given).exists():
        return name, model
    return (Path(given).stem if given.endswith(".gguf") else given), given
