"""`subbyte bench`: tokens/s of a model, or of a synthetic one of a real shape, against the machine's roofline."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import human_count, human_size, show_log, write_line
from subbyte.cli.terminal.interrupt import run_measurement
from subbyte.cli.terminal.loading import open_model
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.tables import Table
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from subbyte.runtime.bench.bench import BenchResult
    from subbyte.runtime.types import Activations, CacheType

NUMBERS: dict[str, Any] = {"type": options.numbers, "metavar": "N,...", "show_default": True}


@click.command()
@options.model_argument(required=False)
@click.option(
    "--synthetic", metavar="SHAPE:TYPE[:LAYERS]", help="Instead of MODEL: random blocks in the shape of a real model."
)
@click.option(
    "--keep", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write the synthetic model to FILE and keep it; default: a temporary file.",
)  # fmt: skip
@click.option("-p", "--prompt", "prompts", default="512", help="Prompt lengths to prefill; 0: none.", **NUMBERS)
@click.option("-n", "--generate", "generations", default="64", help="Tokens to generate; 0: none.", **NUMBERS)
@click.option("-d", "--depth", "depths", default="0", help="Tokens already in the KV cache.", **NUMBERS)
@options.threads_option(several=True)
@click.option(
    "-r", "--repeats", type=click.IntRange(1), default=5, show_default=True, metavar="N",
    help="Runs of each test; the median counts.",
)  # fmt: skip
@options.activations_option("int8")
@options.cache_type_option
@options.overwrite_option
@options.output_option("text", "json", "csv", "md")
@options.override_kv_option
@options.verbose_option
@options.debug_option
@click.pass_context
def bench(
    ctx: click.Context, model: str | None, synthetic: str | None, keep: Path | None, prompts: tuple[int, ...],
    generations: tuple[int, ...], depths: tuple[int, ...], threads: tuple[int, ...] | None, repeats: int,
    activations: "Activations", cache_type: "CacheType", overwrite: bool, output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Benchmark prefill and generation.

    Prompts of -p tokens and generation of -n tokens, each behind -d tokens of context, with -t threads; all take comma
    lists. Every figure is also shown as a share of the roofline: what this machine's memory bandwidth and arithmetic
    allowed at that moment. Ctrl-C shows what was measured so far.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT; --synthetic takes its place.
    """
    with (
        _found(model, synthetic, keep, overwrite, verbose) as name,
        open_model(name, None if threads is None else threads[0], verbose=verbose) as loaded,
        options.usage_errors(),
    ):
        from subbyte.runtime.bench.bench import BenchMeasurement

        measurement = BenchMeasurement(
            loaded,
            prompt=[n for n in prompts if n],
            generate=[n for n in generations if n],
            depth=depths,
            threads=threads,
            repeats=repeats,
            cache_type=cache_type,
            activations=activations,
        )
        with measurement, ProgressBar() as bar:
            done = run_measurement(measurement, lambda step: bar.update(*step))
            result = measurement.result()

    print_bench(output, options.command_line(ctx), result)
    if not done:
        raise KeyboardInterrupt


@contextmanager
def _found(
    model: str | None, synthetic: str | None, keep: Path | None, overwrite: bool, verbose: bool
) -> Iterator[str]:
    """The model, as `open_model` takes it; a temporary file goes with the end of the block."""
    if (model is None) == (synthetic is None):
        raise click.UsageError("give either MODEL or --synthetic SHAPE:TYPE")
    if model is not None:
        if keep is not None:
            raise click.UsageError("--keep goes with --synthetic")
        yield model
        return
    from subbyte.runtime.synthetic.write import parse, temporary, write

    show_log(verbose)
    with options.usage_errors():
        random = parse(str(synthetic))
    with ExitStack() as stack:
        with ProgressBar() as bar:

            def on_progress(done: int, total: int) -> None:
                bar.update("writing the synthetic model", done, total)

            if keep is None:
                path = stack.enter_context(temporary(random, on_progress))
            else:
                write(random, keep, on_progress, overwrite=overwrite)
                path = keep
        yield str(path)


def print_bench(output: options.Output, command: str, result: "BenchResult") -> None:
    """Writes the figures, and the roofline they are compared with, to stdout."""
    if output == "json":
        print_json({"command": command, **result.to_dict()})
    elif output == "csv":
        print_csv(result.records())
    elif output == "md":
        print_markdown("; ".join(_head(result)), _table(result), "; ".join(_notes(result)), f"    {one_line(command)}")
    else:
        write_line("\n".join([*_head(result), ""]))
        print_table(_table(result))
        write_line("\n".join(["", *_notes(result)]))


def _head(result: "BenchResult") -> list[str]:
    """What was measured, on what."""
    model = result.model
    bits = f"{human_count(model['n_params'])} weights at {model['bits_per_weight']:.2f} bits"
    of = result.mixture
    active = f" ({human_count(of.n_active)}, {human_size(of.active_bytes)} for a token)" if of else ""
    options = f"{result.activations} activations, {result.cache_type} cache"
    return [
        one_line(model["name"]),
        one_line(f"{model['architecture']}, {bits}, {human_size(model['size'])}{active}; {options}"),
        one_line(f"{result.cpu}, {result.isa}"),
    ]


def _table(result: "BenchResult") -> Table:
    rows = [
        (row["test"], str(row["threads"]), *_figures(row["tokens_per_second"], row["spread"]),
         f"{row['share_of_roofline']:.0%}", row["bound_by"])
        for row in result.records()
    ]  # fmt: skip
    return Table.of("", ("test", "threads>", "tokens/s>", "±>", "% of roofline>", "bound by"), rows)


def _notes(result: "BenchResult") -> list[str]:
    """The machine's peaks, and what the columns mean."""
    notes = []
    for threads, peak in result.rooflines().items():
        who = f"{threads} threads reach" if threads > 1 else "1 thread reaches"
        macs = f"{_giga(peak.int8_macs)} int8, {_giga(peak.bf16_macs)} bf16, {_giga(peak.float_macs)} float"
        notes.append(f"{who} {peak.bandwidth / 1e9:.1f} GB/s; {macs} multiply-adds/s")
    deviation = f"median of {result.repeats} runs ± their median absolute deviation"
    notes.append(f"tokens/s: {deviation if result.repeats > 1 else 'one run'}")
    notes.append("% of roofline: least time at peak bandwidth and arithmetic, of the time taken")
    return notes


def _figures(rate: float, spread: float) -> tuple[str, str]:
    """Four digits or so of a rate, and as many decimals of its spread."""
    decimals = 0 if rate >= 1000 else 1 if rate >= 10 else 2
    return f"{rate:.{decimals}f}", f"{spread:.{decimals}f}"


def _giga(value: float) -> str:
    return f"{value / 1e9:.0f} G"
