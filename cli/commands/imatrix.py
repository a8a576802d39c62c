"""`subbyte imatrix`: which columns of a model's matrices matter, found by running a text through it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.commands.perplexity import MAX_TEXT
from subbyte.cli.terminal.console import read_bytes
from subbyte.cli.terminal.interrupt import one_interrupt
from subbyte.cli.terminal.loading import open_model
from subbyte.cli.terminal.progress_bar import ProgressBar

if TYPE_CHECKING:
    from subbyte.runtime.types import Activations, CacheType


@click.command()
@options.model_argument()
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.option(
    "-f", "--file", "files", required=True, multiple=True, metavar="FILE", help="A text, - is stdin; may be repeated."
)
@options.ctx_size_option(default=512, show_default=True, help="Tokens in a chunk.")
@click.option("--chunks", type=click.IntRange(1), metavar="N", help="Only the first N chunks; default: all.")
@click.option("--process-output", is_flag=True, help="Importances for the output matrix, too.")
@options.activations_option("int8x2")
@options.cache_type_option
@options.threads_option
@options.verbose_option
@options.debug_option
def imatrix(
    model: str, out: Path, files: tuple[str, ...], n_ctx: int, chunks: int | None, process_output: bool,
    activations: "Activations", cache_type: "CacheType", threads: int | None, verbose: bool,
) -> None:  # fmt: skip
    """Write an importance matrix, for quantizing below 4 bits.

    OUT gets it in the GGUF format that llama-quantize reads as well. Take a text like those the model is for, and not
    the one it will be judged on. MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.imatrix.collect import imatrix as compute

    texts = [read_bytes(file, MAX_TEXT) for file in files]
    started = time.perf_counter()
    loaded = open_model(model, threads, verbose=verbose)
    with loaded, options.usage_errors(), one_interrupt(), ProgressBar() as bar:
        found = compute(
            loaded, texts, n_ctx=n_ctx, chunks=chunks, process_output=process_output, cache_type=cache_type,
            activations=activations, datasets=files,
            on_chunk=lambda done, total: bar.update(f"chunk {done} of {total}", done, total),
        )  # fmt: skip
        found.save(out)
    print(f"{out}: {len(found.squares)} tensors, {found.chunk_count} chunks of {n_ctx} tokens, "
          f"{time.perf_counter() - started:.1f} s")  # fmt: skip
