"""`subbyte perplexity`: how well models predict texts, as llama-perplexity measures it, and how sure their order is."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import write_line
from subbyte.cli.terminal.evaluated import read_evaluated
from subbyte.cli.terminal.interrupt import run_measurement
from subbyte.cli.terminal.loading import open_model, open_workers
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.perplexity_progress import PerplexityProgress
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from subbyte.cli.terminal.plot import Plot
    from subbyte.runtime.evaluation.perplexity_result import PerplexityResult, PerplexityRun
    from subbyte.runtime.types import Activations, CacheType


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@options.texts_option(required=False, note="; chunks of several texts take turns, and each text has figures of its own")
@options.chat_option()
@options.eval_ctx_option
@options.chunks_option
@options.special_option
@click.option(
    "--ppl-stride", "stride", type=click.IntRange(1), metavar="N",
    help="Sliding windows of -c tokens, one every N tokens; the last N of each are scored.",
)  # fmt: skip
@click.option(
    "--until-decided",
    is_flag=True,
    help="Stop when each model is significantly better or worse than the first one, or identical.",
)
@options.resume_option()
@click.option("--plot", is_flag=True, help="Plot the running perplexity on stderr; needs the extra `plot`.")
@click.option(
    "--compat", type=click.Choice(["llama.cpp"]), help="Follow its rules where they differ: BOS with a stride."
)
@options.activations_option("int8x2")
@options.cache_type_option
@options.threads_option()
@options.ray_option
@options.output_option("text", "json", "csv", "md")
@options.override_kv_option
@options.verbose_option
@options.debug_option
@click.pass_context
def perplexity(
    ctx: click.Context, models: tuple[str, ...], files: tuple[str, ...], chats: tuple[str, ...],
    n_ctx: int | None, chunks: int | None, special: bool,
    stride: int | None, until_decided: bool, resume: Path | None, plot: bool, compat: str | None,
    activations: "Activations", cache_type: "CacheType", threads: int | None, ray: str | None,
    output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Measure the perplexity of models on a text.

    The algorithm of llama.cpp's llama-perplexity, with its standard error. Several models take turns at each chunk;
    each is compared with the first one by a paired test on the same tokens, whose 95 % interval (block bootstrap) is
    far narrower than the standard errors of the two. Ctrl-C shows what was measured so far.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.evaluation.options import EvalOptions
    from subbyte.runtime.evaluation.perplexity import PerplexityMeasurement

    if until_decided and len(models) < 2:
        raise click.UsageError("--until-decided compares models; give two or more")
    picture = _picture(models) if plot else None
    texts = read_evaluated(files, chats)
    with ExitStack() as stack:
        loaded = [stack.enter_context(open_model(model, threads, verbose=verbose)) for model in models]
        workers = stack.enter_context(open_workers(ray, threads, verbose=verbose))
        progress = stack.enter_context(PerplexityProgress(values=output == "text", plot=picture))
        stack.enter_context(options.usage_errors())
        measurement = PerplexityMeasurement(
            loaded, texts, EvalOptions(n_ctx, chunks, cache_type, activations, special), stride=stride,
            compat=compat is not None, until_decided=until_decided, resume=resume, workers=workers,
        )  # fmt: skip
        done = run_measurement(measurement, progress.update, options.continuation(ctx, resume))
        run = measurement.result()

    print_perplexity(output, options.command_line(ctx), [*texts], run)
    if not done:
        raise KeyboardInterrupt


def _picture(models: tuple[str, ...]) -> "Plot":
    from subbyte.cli.terminal.plot import Plot

    return Plot(models)


def print_perplexity(output: options.Output, command: str, files: Sequence[str], run: "PerplexityRun") -> None:
    """Writes the results, and what it takes to measure them again, to stdout."""
    if output == "json":
        print_json({"command": command, "files": list(files), **run.to_dict()})
    elif output == "csv":
        print_csv({**row, "command": command} for row in run.records())
    elif output == "md":
        conditions = _conditions(run.results[0]).replace("\n", "; ")
        print_markdown(run.table(), *run.parts(), conditions, f"    {one_line(command)}")
    elif len(run.results) == 1:
        _print_one(run)
    else:
        _print_several(run)


def _print_one(run: "PerplexityRun") -> None:
    """The final value, and below it all that another needs to get the same."""
    (result,) = run.results
    write_line(f"PPL = {result.ppl:.4f} ± {result.error:.4f}, {result.bits_per_byte:.4f} bits per byte")
    interval, how = result.interval, ", by block bootstrap" if math.isfinite(result.interval.high) else ""
    write_line(f"{interval.level:.0%} interval of PPL: {interval.text(4, ' to ')}{how}")
    write_line(f"{result.right.text(2, 100)} % of the tokens are the model's likeliest")
    write_line(_conditions(result))
    for table in run.parts():
        print_table(table)


def _print_several(run: "PerplexityRun") -> None:
    """A table, each model's difference from the first, and what it takes to repeat it."""
    for table in (run.table(), *run.parts()):
        print_table(table)
    write_line()
    write_line(_conditions(run.results[0]))
    write_line("verdict: paired, token by token, against the first model; the interval is by block bootstrap")
    write_line("right: tokens that are the model's likeliest; flips: those that became right and wrong, from the first")


def _conditions(result: "PerplexityResult") -> str:
    from subbyte.runtime.measurement import covered, scored

    stride = f", stride {result.stride}" if result.stride else ""
    chunks = covered(result.chunks, result.total_chunks)
    return (
        f"n_ctx {result.n_ctx}{stride}, {chunks}, {scored(result.n_scored, result.n_tokens)} scored, "
        f"{result.activations} activations, {result.cache_type} cache, {result.seconds:.1f} s\n"
        f"text sha256 {result.text_sha256}"
    )
