"""`subbyte imatrix`, `imatrix-merge`, `imatrix-stats`: the importance of matrix columns, by activations on texts."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import say, write_line
from subbyte.cli.terminal.evaluated import read_evaluated
from subbyte.cli.terminal.interrupt import one_interrupt, run_measurement
from subbyte.cli.terminal.loading import open_model
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.tables import Table
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from subbyte.runtime.imatrix.statistics import By, GroupStatistics, ImatrixStatistics, TensorStatistics
    from subbyte.runtime.types import Activations, CacheType

FIGURES = ("energy>", "share>", "entropy>", "top 1 %>", "similarity>")


@click.command()
@options.model_argument()
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@options.texts_option(required=False)
@options.chat_option("all its tokens count, and a long one is cut into chunks")
@click.option(
    "--weights", callback=options.weights, metavar="N,...",
    help="What a token of each FILE counts, those of -f first, then those of --chat; default: 1.",
)  # fmt: skip
@options.ctx_size_option(default=512, show_default=True, help="Chunk length in tokens.")
@options.chunks_option
@options.special_option
@click.option("--process-output", is_flag=True, help="Also collect importances for the output matrix.")
@click.option(
    "--save-every",
    type=click.IntRange(1),
    metavar="N",
    help="Also write OUT after every N chunks, for a run that dies.",
)
@options.resume_option(what="sums")
@options.activations_option("int8x2")
@options.cache_type_option
@options.threads_option()
@options.overwrite_option
@options.output_option("text", "json")
@options.override_kv_option
@options.verbose_option
@options.debug_option
@click.pass_context
def imatrix(
    ctx: click.Context, model: str, out: Path, files: tuple[str, ...], chats: tuple[str, ...],
    weights: tuple[float, ...], n_ctx: int, chunks: int | None, special: bool, process_output: bool,
    save_every: int | None, resume: Path | None, activations: "Activations", cache_type: "CacheType",
    threads: int | None, overwrite: bool, output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Compute an importance matrix, for quantizing below 4 bits.

    OUT is written in the GGUF format that llama-quantize reads as well; Ctrl-C writes what was measured so far.
    Calibrate on text like that the model is for, and not on the text it will be evaluated on. Several FILEs take turns,
    chunk by chunk. `subbyte imatrix-merge` adds up matrices, `subbyte imatrix-stats` shows what is in one.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.evaluation.options import EvalOptions
    from subbyte.runtime.files import check_place
    from subbyte.runtime.imatrix.collect import ImatrixMeasurement
    from subbyte.runtime.imatrix.expert_use import never_chosen
    from subbyte.runtime.imatrix.imatrix import IMATRIX_FILE
    from subbyte.runtime.measurement import Step, covered

    if resume is not None and resume.resolve() == out.resolve():
        raise click.UsageError(f"--resume {resume} is OUT: the sums so far need a file of their own")
    check_place(out, IMATRIX_FILE, overwrite=overwrite)
    texts = read_evaluated(files, chats)
    started, n_saved = time.perf_counter(), 0
    loaded = open_model(model, threads, verbose=verbose)
    evaluation = EvalOptions(n_ctx, chunks, cache_type, activations, special)
    with loaded, options.usage_errors(), one_interrupt(), ProgressBar() as bar:
        measurement = ImatrixMeasurement(
            loaded, texts, evaluation, weights=weights, process_output=process_output, datasets=(*files, *chats),
            resume=resume,
        )  # fmt: skip

        def show(step: Step) -> None:
            nonlocal n_saved
            bar.update(*step)
            if save_every is not None and step.done % save_every == 0:
                measurement.result().save(out, overwrite=overwrite or n_saved > 0)
                n_saved += 1

        again = () if overwrite else ("--overwrite",)  # over what this run writes
        done = run_measurement(measurement, show, options.continuation(ctx, resume, *again))
        importances = measurement.result()
        importances.save(out, overwrite=overwrite or n_saved > 0)
    if lacking := never_chosen(importances):
        say(f"warning: {lacking}")
    chunks_done = covered(measurement.n_done, measurement.n_total)
    n_tensors, seconds = len(importances.squares), time.perf_counter() - started
    if output == "json":
        facts = {"out": str(out), "n_tensors": n_tensors, "chunks": importances.chunk_count}
        facts |= {"total_chunks": measurement.n_total, "n_ctx": n_ctx, "seconds": seconds}
        print_json({"command": options.command_line(ctx), **facts})
    else:
        write_line(f"{out}: {n_tensors} tensors, {chunks_done} of {n_ctx} tokens, {seconds:.1f} s")
    if not done:
        raise KeyboardInterrupt


@click.command("imatrix-merge")
@click.argument("matrices", nargs=-1, required=True, metavar="IMATRIX...")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--weights", callback=options.weights, metavar="N,...", help="What each IMATRIX counts; default: 1 each.")
@options.overwrite_option
@options.output_option("text", "json")
@options.debug_option
@click.pass_context
def imatrix_merge(
    ctx: click.Context, matrices: tuple[str, ...], out: Path, weights: tuple[float, ...], overwrite: bool,
    output: options.Output,
) -> None:  # fmt: skip
    """Add up importance matrices of one model.

    Sums and counts of tokens are added, as if one run had gone over all the texts. A tensor that some matrices lack is
    taken from the others.
    """
    from subbyte.runtime.files import check_place
    from subbyte.runtime.imatrix.expert_use import never_chosen
    from subbyte.runtime.imatrix.imatrix import IMATRIX_FILE
    from subbyte.runtime.imatrix.merge import merge_imatrices

    check_place(out, IMATRIX_FILE, overwrite=overwrite)
    with options.usage_errors():
        merged = merge_imatrices(matrices, weights=weights)
    merged.save(out, overwrite=overwrite)
    if lacking := never_chosen(merged):
        say(f"warning: {lacking}")
    n_tensors = len(merged.squares)
    if output == "json":
        facts = {"out": str(out), "n_tensors": n_tensors, "chunks": merged.chunk_count, "n_ctx": merged.chunk_size}
        print_json({"command": options.command_line(ctx), **facts, "datasets": list(merged.datasets)})
    else:
        write_line(f"{out}: {n_tensors} tensors, {_amount(merged.chunk_count, merged.chunk_size)}")


@click.command("imatrix-stats")
@click.argument("file", metavar="IMATRIX")
@click.option("--by", type=click.Choice(("tensor", "layer", "kind")), default="tensor", show_default=True, help="Rows.")
@options.output_option("text", "json", "csv", "md")
@options.debug_option
def imatrix_stats(file: str, by: "By", output: options.Output) -> None:
    """Show what an importance matrix says about its model.

    Energy is the mean square of a tensor's inputs, summed over columns. Entropy is 1 where all columns have as much of
    it, and near 0 where few have all; "top 1 %" is what the largest hundredth of the columns has: where that is much,
    importances matter most. Similarity is the cosine with the same tensor in the layer before. Experts are those that
    the text reached.
    """
    from subbyte.runtime.imatrix.statistics import imatrix_statistics

    found = imatrix_statistics(file)
    table = _tensors(found) if by == "tensor" else _groups(found, by)
    if output == "json":
        print_json(found.to_dict())
    elif output == "csv":
        print_csv(found.records() if by == "tensor" else [group.to_dict() for group in found.groups(by)])
    elif output == "md":
        print_markdown(table, _source(found))
    else:
        print_table(table)
        write_line(f"\n{_source(found)}")


def _source(of: "ImatrixStatistics") -> str:
    names = ", ".join(map(one_line, of.datasets)) or "texts that are not known"
    return f"{_amount(of.chunk_count, of.chunk_size)} of {names}"


def _amount(n_chunks: int, size: int) -> str:
    """Files of the older format do not say how long a chunk is."""
    return f"{n_chunks} chunks of {size} tokens" if size else f"{n_chunks} chunks"


def _tensors(found: "ImatrixStatistics") -> Table:
    from subbyte.runtime.gguf.names import is_routed

    rows = [
        (of.name, *_figures(of), f"{of.n_tokens:.0f}", f"{of.n_reached}/{of.n_matrices}" if is_routed(of.name) else "")
        for of in found.tensors
    ]
    return Table.of("", ("tensor", *FIGURES, "tokens>", "experts>"), rows)


def _groups(found: "ImatrixStatistics", by: "By") -> Table:
    rows = [
        (of.group, str(of.n_tensors), *_figures(of), "" if of.reached == 1 else f"{of.reached:.0%}")
        for of in found.groups(by)
    ]
    return Table.of("", (by, "tensors>", *FIGURES, "experts>"), rows)


def _figures(of: "TensorStatistics | GroupStatistics") -> list[str]:
    parts = [(of.share, ".1%"), (of.entropy, ".3f"), (of.top_share, ".1%"), (of.similarity, ".3f")]
    return [f"{of.energy:.4g}", *("" if value is None else format(value, form) for value, form in parts)]
