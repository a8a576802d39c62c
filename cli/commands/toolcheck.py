"""`subbyte toolcheck`: whether models call functions as they should, and what quantization does to that."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import MAX_CORPUS, read_bytes, read_text, write_line
from subbyte.cli.terminal.interrupt import one_interrupt, run_measurement
from subbyte.cli.terminal.loading import open_model
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from subbyte.runtime.toolcheck.result import ToolcheckRun
    from subbyte.runtime.types import Activations, CacheType

EVERYDAY = "everyday"  # the name of the cases that ship; a file of that name is ./everyday

TEMPLATE = "tokenizer.chat_template"


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "-f", "--file", "files", multiple=True, default=[EVERYDAY], show_default=True, metavar="FILE",
    help="Cases, lines of JSON in BFCL's format; - is stdin; everyday: the 60 that ship with subbyte. May be repeated.",
)  # fmt: skip
@click.option(
    "--answers", "answer_files", multiple=True, metavar="FILE",
    help="BFCL's possible answers, where the cases' lines do not have them. May be repeated.",
)  # fmt: skip
@click.option(
    "--mode", type=click.Choice(("both", "free", "constrained")), default="both", show_default=True,
    help="free: the model decides whether to call, and writes as it likes. constrained: an answer must be calls, held "
    "to the functions' schemas; needs the extra `json`.",
)  # fmt: skip
@click.option("--base", metavar="MODEL", help="What the others are compared with; default: the first MODEL.")
@click.option(
    "--chat-template", "template_file", metavar="FILE", help="Chat template in Jinja; default: the models' own."
)
@click.option("--think/--no-think", "thinking", default=None, help="Switch reasoning on or off; default: the model's.")
@click.option(
    "-n", "--predict", "max_tokens", type=click.IntRange(1), default=1024, show_default=True, metavar="N",
    help="Maximum number of tokens of an answer, reasoning included.",
)  # fmt: skip
@click.option(
    "--parallel", "n_parallel", type=click.IntRange(1, 256), default=8, show_default=True, metavar="N",
    help="Cases that are answered at once.",
)  # fmt: skip
@options.resume_option(what="answers, as they come,")
@options.ctx_size_option(help="Context size of each case in tokens; default: the model's, as far as memory allows.")
@options.threads_option()
@options.activations_option("int8x2")
@options.cache_type_option
@options.output_option("text", "json", "csv", "md")
@options.override_kv_option
@options.verbose_option
@options.debug_option
@click.pass_context
def toolcheck(
    ctx: click.Context, models: tuple[str, ...], files: tuple[str, ...], answer_files: tuple[str, ...], mode: str,
    base: str | None, template_file: str | None, thinking: bool | None, max_tokens: int, n_parallel: int,
    resume: Path | None, n_ctx: int | None, threads: int | None, activations: "Activations", cache_type: "CacheType",
    output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Measure how well models call functions.

    Each case is a question with functions, which a model should call with the right arguments, or leave alone. Checked
    by the rules of the AST categories of BFCL, the Berkeley Function Calling Leaderboard, and in its file format.
    Several models are compared case by case, with intervals and McNemar's exact test. -v lists the wrong answers.
    Ctrl-C shows what was measured so far.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.toolcheck.cases import example_cases
    from subbyte.runtime.toolcheck.toolcheck import MODES, ToolcheckMeasurement

    if base is not None and base not in models:
        models = (base, *models)
    if template_file is not None:
        ctx.meta[options.OVERRIDES] = {**ctx.meta.get(options.OVERRIDES, {}), TEMPLATE: read_text(template_file)}
    cases = [example_cases() if file == EVERYDAY else read_bytes(file, MAX_CORPUS) for file in files]
    answers = [read_bytes(file, MAX_CORPUS) for file in answer_files]
    with ExitStack() as stack:
        loaded = [stack.enter_context(open_model(model, threads, verbose=verbose)) for model in models]
        stack.enter_context(options.usage_errors())
        measurement = stack.enter_context(
            ToolcheckMeasurement(
                loaded, cases, answers, modes=[each for each in MODES if mode in ("both", each)],
                base=0 if base is None else models.index(base), thinking=thinking, max_tokens=max_tokens,
                n_parallel=n_parallel, n_ctx=n_ctx, cache_type=cache_type, activations=activations, resume=resume,
            )
        )  # fmt: skip
        stack.enter_context(one_interrupt())
        bar = stack.enter_context(ProgressBar())
        go_on = options.continuation(ctx, resume)
        done = run_measurement(measurement, lambda step: bar.update(step.what, step.done, step.total), go_on)
        run = measurement.result()
    print_toolcheck(output, options.command_line(ctx), run, failed=verbose)
    if not done:
        raise KeyboardInterrupt


def print_toolcheck(output: options.Output, command: str, run: "ToolcheckRun", *, failed: bool) -> None:
    """Writes the results, and what it takes to measure them again, to stdout. failed: with the wrong answers."""
    if output == "json":
        print_json({"command": command, **run.to_dict()})
    elif output == "csv":
        print_csv({**row, "command": command} for row in run.records())
    else:
        tables, wrong, conditions = run.tables(), run.failed(), _conditions(run)
        if output == "md":
            print_markdown(*tables, *([wrong] if failed else []), "; ".join(conditions), f"    {one_line(command)}")
            return
        for table in tables:
            print_table(table)
        for case, model, mode, failure, what, called in wrong.rows if failed else ():
            write_line(f"\n{case}, {model}, {mode}: {failure}: {what}\n    {called}")
        write_line("\n".join(["", *conditions]))


def _conditions(run: "ToolcheckRun") -> tuple[str, ...]:
    from subbyte.runtime.measurement import covered

    thinking = {None: "reasoning as trained", True: "reasoning on", False: "reasoning off"}[run.thinking]
    compared = [f"base {one_line(os.path.basename(run.models[run.base]))}"] if len(run.models) > 1 else []
    seconds = "" if run.seconds is None else f", {run.seconds:.1f} s"  # of a whole run alone
    return (
        *compared,
        f"{covered(run.n_done, run.n_total, 'answers')} to {run.n_cases} cases, greedy, {thinking}, up to "
        f"{run.max_tokens} tokens an answer, {run.activations} activations, {run.cache_type} cache{seconds}",
        f"cases sha256 {run.cases_sha256}",
    )
