"""`subbyte`: the list of commands, and how each of them ends.

Exit codes: 0 done, 1 differences were found (`diff`, `recipe check`), 2 usage, 3 model refused, 4 resource or
input/output, 5 error while running, 130 Ctrl-C, 141 the reader of our output went away. An error is one line on stderr;
`--debug` shows its traceback before it.
"""

import os
import sys
import traceback
from collections.abc import Sequence

import click
from click.shell_completion import shell_complete

from subbyte.cli import options
from subbyte.cli.commands import (
    batch,
    bench,
    chat,
    choices,
    compare,
    diff,
    doctor,
    generate,
    history,
    imatrix,
    inspect,
    models,
    perplexity,
    quantize,
    recipe,
    report,
    rewrite,
    serve,
    toolcheck,
)
from subbyte.cli.terminal.console import prepare_streams, say, write_line
from subbyte.errors import FileExists, SubbyteError
from subbyte.runtime.files import similar_files

COMPLETE = "_SUBBYTE_COMPLETE"  # the variable by which a shell asks click for completions
USAGE, RESOURCE, RUNTIME, INTERRUPTED, PIPE_CLOSED = 2, 4, 5, 130, 141


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="subbyte", message="subbyte %(version)s")
@options.debug_option
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run GGUF language models on the CPU."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)


COMMANDS = (
    chat.chat, generate.generate, serve.serve, batch.batch, perplexity.perplexity, compare.compare, report.report,
    choices.choices, toolcheck.toolcheck, bench.bench, inspect.inspect, diff.diff, quantize.quantize, recipe.recipe,
    imatrix.imatrix, imatrix.imatrix_merge, imatrix.imatrix_stats,
    rewrite.split, rewrite.merge, rewrite.set_metadata, models.pull, models.ls, history.history, doctor.doctor,
)  # fmt: skip
for command in COMMANDS:
    cli.add_command(command)


def run(args: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    try:
        prepare_streams()
        code = _invoke(args)
        sys.stdout.flush()  # a full disk shows up here, not while the interpreter shuts down
        return code
    except BrokenPipeError:
        _discard_stdout()
        return PIPE_CLOSED
    except (click.Abort, KeyboardInterrupt):
        if sys.stderr.isatty():
            write_line(stream=sys.stderr)  # behind the ^C
        return INTERRUPTED
    except Exception as error:
        code, message = explain(error)
        say(message)
        _drop_unwritten()
        return code


def _invoke(args: Sequence[str]) -> int:
    """What click's own `main` does, without its ways of ending the process."""
    wanted = os.environ.get(COMPLETE)
    if wanted:
        return shell_complete(cli, {}, "subbyte", COMPLETE, wanted)
    try:
        with cli.make_context("subbyte", list(args)) as ctx:
            ctx.meta[options.ARGS] = list(args)
            try:
                cli.invoke(ctx)
            except Exception as error:
                if ctx.meta.get(options.DEBUG) and not isinstance(error, click.exceptions.Exit):
                    traceback.print_exc()
                raise
    except click.exceptions.Exit as end:
        return end.exit_code
    return 0


def explain(error: Exception) -> tuple[int, str]:
    """The exit code and the one line for an error."""
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "subbyte"
        return USAGE, f"{error.format_message()} ({path} --help tells more)"
    if isinstance(error, click.ClickException):
        return error.exit_code, error.format_message()
    if isinstance(error, FileExists):  # the library names its own argument
        return error.exit_code, str(error).replace("overwrite=True", "--overwrite")
    if isinstance(error, SubbyteError):
        return error.exit_code, str(error)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        if isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
            reason += similar_files(error.filename)
        return RESOURCE, f"{error.filename}: {reason}" if error.filename else reason
    if isinstance(error, MemoryError) or (isinstance(error, ImportError) and "failed to map" in str(error)):
        return RESOURCE, "not enough memory"
    return RUNTIME, f"internal error, {type(error).__name__}: {error} (--debug shows where)"


def _drop_unwritten() -> None:
    """After an error: what can't be written any more must not fail a second time at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_stdout()


def _discard_stdout() -> None:
    """Sends what is still buffered, and all that follows, nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
