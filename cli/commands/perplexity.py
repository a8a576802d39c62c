"""`subbyte perplexity`: how well models predict texts, as llama-perplexity measures it, and how sure their order is."""

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.commands.perplexity_output import print_csv, print_markdown, print_one, print_several
from subbyte.cli.terminal.console import print_json, read_bytes
from subbyte.cli.terminal.loading import open_model
from subbyte.cli.terminal.perplexity_progress import PerplexityProgress

if TYPE_CHECKING:
    from subbyte.cli.terminal.plot import Plot
    from subbyte.runtime.types import Activations, CacheType

MAX_TEXT = 1 << 30  # bytes


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "-f", "--file", "files", required=True, multiple=True, metavar="FILE",
    help="A text, read as bytes; - is stdin. Several -f are cut into chunks one by one and count together.",
)  # fmt: skip
@options.ctx_size_option(default=512, show_default=True, help="Tokens in a chunk; the second half of each is scored.")
@click.option("--chunks", type=click.IntRange(1), metavar="N", help="Only the first N chunks; default: the whole text.")
@click.option(
    "--ppl-stride", "stride", type=click.IntRange(1), metavar="N",
    help="Windows of -c tokens that begin every N; the last N of each are scored.",
)  # fmt: skip
@click.option("--until-decided", is_flag=True, help="Stop when each model is better or worse than the first one.")
@click.option(
    "--resume", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Keep each chunk's results in FILE, and go on from there if it exists.",
)  # fmt: skip
@click.option("--plot", is_flag=True, help="Plot the running perplexity on stderr; needs the extra `plot`.")
@click.option("--compat", type=click.Choice(["llama.cpp"]), help="Its rules where they differ: BOS with a stride.")
@options.activations_option("int8x2")
@options.cache_type_option
@options.threads_option
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "csv", "md"]), default="text", show_default=True,
    help="What stdout gets.",
)  # fmt: skip
@click.option("--json", "output", flag_value="json", help="The same as -o json.")
@options.verbose_option
@options.debug_option
@click.pass_context
def perplexity(
    ctx: click.Context, models: tuple[str, ...], files: tuple[str, ...], n_ctx: int, chunks: int | None,
    stride: int | None, until_decided: bool, resume: Path | None, plot: bool, compat: str | None,
    activations: "Activations", cache_type: "CacheType", threads: int | None, output: str, verbose: bool,
) -> None:  # fmt: skip
    """Measure how well models predict a text.

    Perplexity by the algorithm of llama.cpp's llama-perplexity, with its standard error. Several models take turns at
    each chunk; each is compared with the first one by the differences token by token, whose interval (95 %, block
    bootstrap) is far smaller than the errors of the two.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.evaluation.perplexity import perplexity as measure

    if until_decided and len(models) < 2:
        raise click.UsageError("--until-decided compares models: give two or more")
    picture = _picture(models) if plot else None
    texts = [read_bytes(file, MAX_TEXT) for file in files]
    with ExitStack() as stack:
        loaded = [stack.enter_context(open_model(model, threads, verbose=verbose)) for model in models]
        progress = stack.enter_context(PerplexityProgress(values=output == "text", plot=picture))
        stack.enter_context(options.usage_errors())
        run = measure(
            loaded, texts, n_ctx=n_ctx, chunks=chunks, stride=stride, cache_type=cache_type, activations=activations,
            compat=compat is not None, until_decided=until_decided, resume=resume, on_chunk=progress.update,
        )  # fmt: skip
    command = shlex.join(["subbyte", *ctx.meta[options.ARGS]])
    if output == "json":
        print_json({"command": command, "files": list(files), **run.to_dict()})
    elif output == "csv":
        print_csv(run, command)
    elif output == "md":
        print_markdown(run, command)
    elif len(models) == 1:
        print_one(run.results[0])
    else:
        print_several(run)


def _picture(models: tuple[str, ...]) -> "Plot":
    from subbyte.cli.terminal.plot import Plot

    return Plot(models)
