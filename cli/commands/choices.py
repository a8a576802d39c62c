"""`subbyte choices`: multiple choice by log-probabilities, and how sure the order of models is."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import MAX_CORPUS, read_bytes, write_line
from subbyte.cli.terminal.interrupt import run_measurement
from subbyte.cli.terminal.loading import open_model
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from subbyte.runtime.choices.result import ChoicesRun


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option(
    "-f", "--file", required=True, metavar="FILE",
    help='Questions, lines of JSON with "question", "choices" and "answer", the index of the right choice from 0; - is '
    "stdin.",
)  # fmt: skip
@click.option(
    "--chat-template", is_flag=True,
    help='Ask in the chat template of the model; default: as a text to continue, "Question: …" and "Answer:".',
)  # fmt: skip
@options.resume_option(what="results of each question")
@options.threads_option()
@options.output_option("text", "json", "csv", "md")
@options.override_kv_option
@options.verbose_option
@options.debug_option
@click.pass_context
def choices(
    ctx: click.Context, models: tuple[str, ...], file: str, chat_template: bool, resume: Path | None,
    threads: int | None, output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Put multiple-choice questions to models.

    The choices' log-probabilities behind the question decide, in total and per byte. Several models take turns at each
    question; each is compared with the first one on the same questions: answers that became right and wrong, the
    difference with its 95 % interval, and McNemar's exact test. Ctrl-C shows what was measured so far.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.choices.choices import ChoicesMeasurement

    questions = read_bytes(file, MAX_CORPUS)
    with ExitStack() as stack:
        loaded = [stack.enter_context(open_model(model, threads, verbose=verbose)) for model in models]
        stack.enter_context(options.usage_errors())
        measurement = ChoicesMeasurement(loaded, questions, chat_template=chat_template, resume=resume)
        stack.enter_context(measurement)
        bar = stack.enter_context(ProgressBar())
        done = run_measurement(measurement, lambda step: bar.update(*step), options.continuation(ctx, resume))
        run = measurement.result()

    print_choices(output, options.command_line(ctx), run)
    if not done:
        raise KeyboardInterrupt


def print_choices(output: options.Output, command: str, run: "ChoicesRun") -> None:
    """Writes the results, and what it takes to measure them again, to stdout."""
    conditions = _conditions(run)
    if output == "json":
        print_json({"command": command, **run.to_dict()})
    elif output == "csv":
        print_csv({**row, "command": command} for row in run.records())
    elif output == "md":
        print_markdown(*run.tables(), "; ".join(conditions), f"    {one_line(command)}")
    else:
        for table in run.tables():
            print_table(table)
        write_line("\n".join(["", *conditions]))


def _conditions(run: "ChoicesRun") -> tuple[str, ...]:
    n = "1 question" if run.total_questions == 1 else f"{run.questions} questions"
    if run.questions < run.total_questions:
        n = f"{run.questions} of {run.total_questions} questions"
    how = "in the model's chat template" if run.chat_template else "as a text to continue"
    return f"{n} {how}, int8x2 activations, f16 cache, {run.seconds:.1f} s", f"questions sha256 {run.questions_sha256}"
