"""`subbyte compare`: how far quantized models diverge from a base, and which layers and tensors cause it."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import note, write_line
from subbyte.cli.terminal.evaluated import read_evaluated
from subbyte.cli.terminal.interrupt import run_measurement
from subbyte.cli.terminal.loading import open_model, open_workers
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.plot_files import check_plots, save_plots
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from subbyte.runtime.compare.attribution_result import Attribution
    from subbyte.runtime.compare.compare import CompareProgress
    from subbyte.runtime.compare.groups import By
    from subbyte.runtime.compare.result import CompareRun
    from subbyte.runtime.measurement import Measurement
    from subbyte.runtime.types import Activations, CacheType

P = TypeVar("P")


@click.command()
@click.argument("base", metavar="BASE")
@click.argument("models", metavar="Q...", nargs=-1, required=True)
@options.texts_option(
    required=False,
    note="; chunks of several texts take turns, and each text has figures of its own. None where BASE is a base file",
)
@options.chat_option()
@options.ctx_size_option(
    help="Chunk length in tokens, whose second half is scored, default: 512, or the base file's. Of conversations: how "
    "many tokens one may have, default: as the model was trained."
)
@options.chunks_option
@click.option(
    "--save-base", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write BASE's log-probabilities as a base file, as llama-perplexity's --kl-divergence-base does.",
)  # fmt: skip
@click.option("--layers", is_flag=True, help="Also measure the error of the residual stream after each layer.")
@click.option(
    "--blame", "by", type=click.Choice(["tensor", "kind", "layer", "part"]),
    help="Also attribute the divergence: what each tensor, kind of tensor, layer or part (attention, experts, …) of Q "
    "costs, and the bytes it saves.",
)  # fmt: skip
@options.plot_option("With --blame tensor: also draw what each tensor costs, by layer and kind.")
@options.resume_option("; --blame keeps its own in FILE.blame-1, FILE.blame-2 … for each Q")
@options.activations_option("int8x2")
@options.cache_type_option
@options.threads_option()
@options.ray_option
@options.overwrite_option
@options.output_option("text", "json", "csv", "md")
@options.override_kv_option
@options.verbose_option
@options.debug_option
@click.pass_context
def compare(
    ctx: click.Context, base: str, models: tuple[str, ...], files: tuple[str, ...], chats: tuple[str, ...],
    n_ctx: int | None, chunks: int | None, save_base: Path | None, layers: bool, by: "By | None",
    plots: tuple[Path, ...], resume: Path | None, activations: "Activations", cache_type: "CacheType",
    threads: int | None, ray: str | None, overwrite: bool, output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Measure how far quantized models diverge from a base model.

    KL divergence, token probabilities and perplexity, the statistics of llama-perplexity's --kl-divergence, for any
    number of models Q in one run, without a file in between. Ctrl-C shows what was measured so far.

    BASE and Q are GGUF files, names that `subbyte ls` shows, or hf:user/repo:QUANT. BASE may also be a base file of
    llama.cpp, which holds its text as well.
    """
    if output == "csv" and (layers or by):
        raise click.UsageError("CSV is one table; --layers and --blame need -o text, md or json")
    if plots and (by != "tensor" or len(models) > 1):
        raise click.UsageError("--plot draws the tensors of one model; give --blame tensor and one Q")
    from subbyte.runtime.compare.base_file import BaseFile, is_base_file

    with ExitStack() as stack, options.usage_errors():
        check_plots(plots, overwrite)
        texts = read_evaluated(files, chats) if files or chats or not is_base_file(base) else None
        reference = BaseFile(base) if is_base_file(base) else open_model(base, threads, verbose=verbose)
        stack.callback(reference.close)
        others = [stack.enter_context(open_model(model, threads, verbose=verbose)) for model in models]
        workers = stack.enter_context(open_workers(ray, threads, verbose=verbose))
        from subbyte.runtime.compare.attribution import AttributionMeasurement
        from subbyte.runtime.compare.compare import CompareMeasurement
        from subbyte.runtime.evaluation.options import EvalOptions

        evaluation = EvalOptions(n_ctx, chunks, cache_type, activations)
        comparison = CompareMeasurement(
            reference, others, texts, evaluation, layers=layers, save_base=save_base, overwrite=overwrite,
            resume=resume, workers=workers,
        )  # fmt: skip
        attributions = []
        if by is not None:
            for i, model in enumerate(others, 1):
                file = resume and resume.with_name(f"{resume.name}.blame-{i}")
                measurement = AttributionMeasurement(
                    reference, model, texts, evaluation, by, resume=file, workers=workers
                )
                attributions.append((measurement, options.continuation(ctx, file)))
        go_on = options.continuation(ctx, resume) if save_base is None else ""
        done, results = _run(comparison, lambda p: (_kld(p), p.index, p.total), go_on), []
        if save_base is not None and not done:
            note(f"{save_base} was not written: it needs all chunks", verbose=True)
        for attribution, go_on in attributions:
            done = done and _run(attribution, lambda p: (f"attributing {p.group}", p.done, p.total), go_on)
            if done or attribution.n_done:
                results.append(attribution.result())
        if comparison.n_done:
            print_comparison(output, options.command_line(ctx), comparison.result(), results)
        for result in results:
            save_plots(result, plots, overwrite)
    if not done:
        raise KeyboardInterrupt


def _run(measurement: "Measurement[P, Any]", describe: Callable[[P], tuple[str, int, int]], go_on: str) -> bool:
    """Goes through a measurement with a bar on stderr; False where Ctrl-C ended it."""
    with ProgressBar() as bar:
        try:
            return run_measurement(measurement, lambda progress: bar.update(*describe(progress)), go_on)
        except KeyboardInterrupt:  # before anything was measured
            return False


def _kld(progress: "CompareProgress") -> str:
    return "KLD " + ", ".join(f"{kld:.6f}" for kld in progress.kld)


def print_comparison(
    output: options.Output, command: str, run: "CompareRun", attributions: Sequence["Attribution"]
) -> None:
    """Writes a comparison, and what of the divergence is due to which tensors, to stdout."""
    if output == "json":
        print_json(
            {"command": command, **run.to_dict(), "blame": [attribution.to_dict() for attribution in attributions]}
        )
        return
    if output == "csv":
        print_csv(run.records())
        return
    tables = [*run.tables(), *(attribution.table() for attribution in attributions)]
    conditions = _conditions(run)
    if output == "md":
        print_markdown(*tables, "; ".join(conditions), f"    {one_line(command)}")
        return
    for table in tables:
        print_table(table)
    write_line("\n".join(["", *conditions]))


def _conditions(run: "CompareRun") -> tuple[str, ...]:
    from subbyte.runtime.measurement import covered, scored

    return (
        f"base {one_line(run.base)}",
        f"n_ctx {run.n_ctx}, {covered(run.chunks, run.total_chunks)}, {scored(run.n_scored, run.n_tokens)} scored, "
        f"{run.activations} activations, {run.cache_type} cache, {run.seconds:.1f} s",
        f"text sha256 {run.text_sha256}" if run.text_sha256 else "tokens of the base file",
    )
