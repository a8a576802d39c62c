"""`subbyte report`: the table of a model card, measured."""

import shlex
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.commands.perplexity import MAX_TEXT
from subbyte.cli.terminal.console import encodable, one_line, print_json, printable, read_bytes
from subbyte.cli.terminal.loading import find_model
from subbyte.cli.terminal.progress_bar import ProgressBar

if TYPE_CHECKING:
    from subbyte.runtime.types import Activations, CacheType

COUNT = click.IntRange(1)


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "-f", "--file", "files", required=True, multiple=True, metavar="FILE",
    help="A text, read as bytes; - is stdin. May be given several times.",
)  # fmt: skip
@click.option("--base", metavar="MODEL", help="The unquantized model: also how far the others diverge from it.")
@click.option(
    "--against", metavar="MODEL",
    help="One of the files, with which the others are compared; default: for each the standard file of its size class.",
)  # fmt: skip
@options.ctx_size_option(default=512, show_default=True, help="Tokens in a chunk; the second half of each is scored.")
@click.option("--chunks", type=COUNT, metavar="N", help="Only the first N chunks; default: the whole text.")
@click.option("-p", "--prompt", type=COUNT, default=512, show_default=True, metavar="N", help="Tokens of a prompt.")
@click.option(
    "-n", "--generate", "generation", type=COUNT, default=64, show_default=True, metavar="N", help="Tokens to generate."
)
@click.option("-r", "--repeats", type=COUNT, default=3, show_default=True, metavar="N", help="Runs of both.")
@options.activations_option("int8x2")
@options.cache_type_option
@options.threads_option
@click.option(
    "-o", "--output", type=click.Choice(["md", "json"]), default="md", show_default=True, help="What stdout gets."
)
@click.option("--json", "output", flag_value="json", help="The same as -o json.")
@options.verbose_option
@options.debug_option
@click.pass_context
def report(
    ctx: click.Context, models: tuple[str, ...], files: tuple[str, ...], base: str | None, against: str | None,
    n_ctx: int, chunks: int | None, prompt: int, generation: int, repeats: int, activations: "Activations",
    cache_type: "CacheType", threads: int | None, output: str, verbose: bool,
) -> None:  # fmt: skip
    """Measure what a model card says of quantized files.

    Perplexity, bits per byte, size and tokens/s of each file; how much worse or better it predicts the text than the
    standard file of its size class, token by token; with --base also the KL divergence. A file is standard if its
    tensors have the types that llama-quantize gives them. One that is not is compared with the standard file of its
    file type, or else with the standard file nearest in size.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    with ExitStack() as stack:
        stack.enter_context(options.usage_errors())
        from subbyte.runtime.report.report import report as measure

        texts = [read_bytes(file, MAX_TEXT) for file in files]
        paths = [find_model(model, verbose=verbose) for model in models]
        reference = None if base is None else find_model(base, verbose=verbose)
        bar = stack.enter_context(ProgressBar())
        result = measure(
            paths, texts, base=reference, against=against, n_ctx=n_ctx, chunks=chunks, cache_type=cache_type,
            activations=activations, threads=threads, prompt=prompt, generation=generation, repeats=repeats,
            on_progress=bar.update,
        )  # fmt: skip
    command = shlex.join(["subbyte", *ctx.meta[options.ARGS]])
    if output == "json":
        print_json({"command": command, "files": list(files), **result.to_dict()})
        return
    text = result.markdown(one_line(command))
    for sign, plain in {"±": "+/-", "Δ": "d"}.items():
        text = text.replace(sign, encodable(sign, plain, sys.stdout))
    print(printable(text))
