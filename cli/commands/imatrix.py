"""`subbyte imatrix`: the importance of a model's matrix columns, from activations on a calibration text."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import MAX_CORPUS, read_bytes, write_line
from subbyte.cli.terminal.interrupt import one_interrupt, run_measurement
from subbyte.cli.terminal.loading import open_model
from subbyte.cli.terminal.output import print_json
from subbyte.cli.terminal.progress_bar import ProgressBar

if TYPE_CHECKING:
    from subbyte.runtime.types import Activations, CacheType


@click.command()
@options.model_argument()
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@options.texts_option()
@options.ctx_size_option(default=512, show_default=True, help="Chunk length in tokens.")
@options.chunks_option
@options.special_option
@click.option("--process-output", is_flag=True, help="Also collect importances for the output matrix.")
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
    ctx: click.Context, model: str, out: Path, files: tuple[str, ...], n_ctx: int, chunks: int | None, special: bool,
    process_output: bool, resume: Path | None, activations: "Activations", cache_type: "CacheType", threads: int | None,
    overwrite: bool,
    output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Compute an importance matrix, for quantizing below 4 bits.

    OUT is written in the GGUF format that llama-quantize reads as well; Ctrl-C writes what was measured so far.
    Calibrate on text like that the model is for, and not on the text it will be evaluated on.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.evaluation.options import EvalOptions
    from subbyte.runtime.files import check_place
    from subbyte.runtime.imatrix.collect import ImatrixMeasurement
    from subbyte.runtime.imatrix.imatrix import IMATRIX_FILE
    from subbyte.runtime.measurement import covered

    if resume is not None and resume.resolve() == out.resolve():
        raise click.UsageError(f"--resume {resume} is OUT: the sums so far need a file of their own")
    check_place(out, IMATRIX_FILE, overwrite=overwrite)
    texts = [read_bytes(file, MAX_CORPUS) for file in files]
    started = time.perf_counter()
    loaded = open_model(model, threads, verbose=verbose)
    evaluation = EvalOptions(n_ctx, chunks, cache_type, activations, special)
    with loaded, options.usage_errors(), one_interrupt(), ProgressBar() as bar:
        measurement = ImatrixMeasurement(
            loaded, texts, evaluation, process_output=process_output, datasets=files, resume=resume
        )
        again = () if overwrite else ("--overwrite",)  # over what this run writes
        done = run_measurement(measurement, lambda step: bar.update(*step), options.continuation(ctx, resume, *again))
        importances = measurement.result()
        importances.save(out, overwrite=overwrite)
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
