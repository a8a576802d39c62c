"""`subbyte report`: the table of a model card, measured."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from subbyte.cli import options
from subbyte.cli.terminal.console import write_line
from subbyte.cli.terminal.evaluated import read_evaluated
from subbyte.cli.terminal.interrupt import run_measurement
from subbyte.cli.terminal.loading import open_model, open_workers
from subbyte.cli.terminal.output import print_csv, print_json
from subbyte.cli.terminal.plot_files import check_plots, save_plots
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.tables import Table
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from subbyte.runtime.report.result import Report
    from subbyte.runtime.types import Activations, CacheType

COUNT = click.IntRange(1)


@click.command()
@click.argument("models", metavar="[MODEL...]", nargs=-1)
@options.texts_option(required=False)
@options.chat_option()
@click.option("--base", metavar="MODEL", help="The unquantized model; also measure the KL divergence from it.")
@click.option(
    "--against", metavar="MODEL",
    help="Compare all with this one of the files; default: each with the standard file of its size class.",
)  # fmt: skip
@options.eval_ctx_option
@options.chunks_option
@click.option("-p", "--prompt", type=COUNT, default=512, show_default=True, metavar="N", help="Prompt length to time.")
@click.option("-n", "--generate", type=COUNT, default=64, show_default=True, metavar="N", help="Tokens to generate.")
@click.option(
    "-r", "--repeats", type=COUNT, default=3, show_default=True, metavar="N", help="Runs of both; the median counts."
)
@options.resume_option("; speeds are measured anew")
@options.activations_option("int8x2")
@options.cache_type_option
@options.threads_option()
@options.ray_option
@options.plot_option("Also draw KL divergence and perplexity by size.")
@click.option(
    "--from", "saved", type=click.Path(path_type=Path), metavar="FILE",
    help="Measure nothing, and draw what an earlier report wrote with -o json; takes no other options than --plot.",
)  # fmt: skip
@options.overwrite_option
@options.output_option("text", "json", "csv", "md")
@options.override_kv_option
@options.verbose_option
@options.debug_option
@click.pass_context
def report(
    ctx: click.Context, models: tuple[str, ...], files: tuple[str, ...], chats: tuple[str, ...], base: str | None,
    against: str | None, n_ctx: int | None, chunks: int | None, prompt: int, generate: int, repeats: int,
    resume: Path | None, activations: "Activations", cache_type: "CacheType", threads: int | None, ray: str | None,
    plots: tuple[Path, ...], saved: Path | None, overwrite: bool, output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Measure the table of a model card.

    Quality, size and speed of quantized files: perplexity, bits per byte, size and tokens/s of each; how much better or
    worse it predicts the text than the standard file of its size class, by a paired test; with --base also the KL
    divergence. -o md is the table for the card.

    A file is standard if its tensors have the types that llama-quantize gives them. One that is not is compared with
    the standard file of its file type, or else with the standard file nearest in size. Ctrl-C shows what was measured
    so far.

    --plot draws the card's picture: divergence and perplexity by size with 95 % intervals, and the Pareto frontier.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    with ExitStack() as stack:
        stack.enter_context(options.usage_errors())
        check_plots(plots, overwrite)
        if saved is not None:
            _check_alone(ctx, plots)
            from subbyte.runtime.report.saved import SavedReport

            save_plots(SavedReport.open(saved), plots, overwrite)
            return
        if not models or not (files or chats):
            raise click.UsageError("give a MODEL and a text with -f or --chat, or an earlier report with --from")
        from subbyte.runtime.evaluation.options import EvalOptions
        from subbyte.runtime.report.report import ReportMeasurement

        texts = read_evaluated(files, chats)
        loaded = [stack.enter_context(open_model(model, threads, verbose=verbose)) for model in models]
        reference = None if base is None else stack.enter_context(open_model(base, threads, verbose=verbose))
        workers = stack.enter_context(open_workers(ray, threads, verbose=verbose))
        measurement = ReportMeasurement(
            loaded, texts, EvalOptions(n_ctx, chunks, cache_type, activations), base=reference, against=against,
            prompt=prompt, generate=generate, repeats=repeats, resume=resume, workers=workers,
        )  # fmt: skip
        stack.enter_context(measurement)
        bar = stack.enter_context(ProgressBar())
        done = run_measurement(measurement, lambda step: bar.update(*step), options.continuation(ctx, resume))
        result = measurement.result()

    print_report(output, options.command_line(ctx), [*texts], result)
    with options.usage_errors():
        save_plots(result, plots, overwrite)
    if not done:
        raise KeyboardInterrupt


def _check_alone(ctx: click.Context, plots: Sequence[Path]) -> None:
    """That nothing else is asked of a saved report."""
    given = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if not plots or not {*given} <= {"saved", "plots", "overwrite", "verbose"}:
        raise click.UsageError("--from draws an earlier report: give it with --plot FILE, and with no MODEL or options")


def print_report(output: options.Output, command: str, files: Sequence[str], report: "Report") -> None:
    """Writes a report, and what it takes to measure it again, to stdout. files: names of the texts."""
    if output == "json":
        print_json({"command": command, "files": list(files), **report.to_dict()})
    elif output == "csv":
        print_csv(report.records())
    elif output == "md":
        write_line(report.markdown(one_line(command)))
    else:
        _print_figures(report)


def _print_figures(report: "Report") -> None:
    """A column for each file, which fits a terminal sooner than the card's row for each."""
    table = report.table()
    (_, *names), *rows = zip(table.columns, *table.rows, strict=True)
    print_table(Table.of_figures("", ("", *names), rows))
    for note in report.notes():
        write_line(f"\n{note}")
