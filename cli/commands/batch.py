"""`subbyte batch`: prompts and conversations as lines of JSON, answered together; a line of JSON for each."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli import options
from subbyte.cli.chat.settings import sampling_from, sampling_options
from subbyte.cli.terminal.console import MAX_CORPUS, note, read_bytes, write_line
from subbyte.cli.terminal.interrupt import one_interrupt
from subbyte.cli.terminal.loading import open_model
from subbyte.cli.terminal.progress_bar import ProgressBar

if TYPE_CHECKING:
    from subbyte.runtime.types import Activations, CacheType


@click.command()
@options.model_argument()
@click.argument("file", metavar="FILE", default="-")
@click.option(
    "--parallel", "n_parallel", type=click.IntRange(1, 256), default=8, show_default=True, metavar="N",
    help="Lines that are answered at once.",
)  # fmt: skip
@options.resume_option(what="results, as they come,")
@options.predict_option
@options.ctx_size_option(help="Context size of each line in tokens; default: the model's, as far as memory allows.")
@options.threads_option()
@options.activations_option("int8")
@options.cache_type_option
@sampling_options
@options.override_kv_option
@options.verbose_option
@options.debug_option
def batch(
    model: str, file: str, n_parallel: int, resume: Path | None, max_tokens: int | None,
    n_ctx: int | None, threads: int | None, activations: "Activations", cache_type: "CacheType", verbose: bool,
    **sampling: Any,
) -> None:  # fmt: skip
    """Answer many prompts at once: a line of JSON for each, a line of JSON out.

    A line of FILE (default: stdin) is an object with "prompt", raw text, or "messages" for the chat template. It may
    have "id", "system", "tools", "thinking", "schema", "regex" or "choices" (what the answer must be), "stop",
    "max_tokens" and the sampling parameters by the names of the library; those of this command hold where it has none.
    Results are written as they come, with the "index" of their line, from 0, to stdout or to the file of --resume.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.batch.batch import BatchOptions, results_file, run_batch
    from subbyte.runtime.batch.results import json_line
    from subbyte.runtime.types import SessionOptions

    ctx = click.get_current_context()
    lines = {i: line for i, line in enumerate(read_bytes(file, MAX_CORPUS).splitlines()) if line.strip()}
    how = BatchOptions(
        sampling_from(sampling), max_tokens, (), n_parallel, SessionOptions(n_ctx, cache_type, activations)
    )
    with ExitStack() as stack:
        loaded = stack.enter_context(open_model(model, threads, verbose=verbose))
        stack.enter_context(options.usage_errors())
        results, left, n_done, n_failed = None, lines, 0, 0
        if resume is not None:
            results = stack.enter_context(results_file(resume, loaded, lines, how))
            left = {i: line for i, line in lines.items() if i not in results.done}
            n_done = len(results.done)
            n_failed = len({row["index"] for row in results.rows() if "error" in row})
        stack.enter_context(one_interrupt())
        bar = stack.enter_context(ProgressBar())
        try:
            for row in run_batch(loaded, left, how):
                if results is None:
                    write_line(json_line(row))
                    sys.stdout.flush()  # also into a pipe
                else:
                    results.add(row)
                n_done, n_failed = n_done + 1, n_failed + ("error" in row)
                bar.update(f"{n_done} of {len(lines)} lines", n_done, len(lines))
        except KeyboardInterrupt:
            note(f"interrupted: {n_done} of {len(lines)} lines{options.continuation(ctx, resume)}", verbose=True)
            raise
    if n_failed:
        note(f'{n_failed} of {len(lines)} lines could not be answered: "error" in their results says why', verbose=True)
        ctx.exit(5)
