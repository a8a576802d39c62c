"""`subbyte doctor`: what this machine and installation are, and what is likely slow here."""

import os
import sys

import click

from subbyte.cli import options
from subbyte.cli.terminal.columns import beside
from subbyte.cli.terminal.console import (
    encodable,
    rich_console,
    show_log,
    styled,
    takes_escapes,
    terminal_width,
    write_line,
    write_styled,
)
from subbyte.cli.terminal.output import print_json
from subbyte.runtime.doctor.check import Check
from subbyte.runtime.text import one_line

NAME_WIDTH = 20


@click.command()
@options.output_option("text", "json")
@options.verbose_option
@options.debug_option
def doctor(output: options.Output, verbose: bool) -> None:
    """Tell what decides how models run here: machine, threads, memory, packages, caches, terminal.

    A line each; below one that is likely slow, what to do about it. Memory bandwidth is measured for a moment, all
    else is read. For reports of a problem: -o json.
    """
    from subbyte.runtime.doctor.checkup import checkup

    show_log(verbose)
    checks = []
    for check in (*checkup(), _terminal()):
        checks.append(check)
        if output == "text":
            show_check(check)
    advised = sum(check.advice is not None for check in checks)
    if output == "json":
        print_json({"checks": [check.to_dict() for check in checks]})
    else:
        write_line(f"\n{advised} of {len(checks)} lines have advice" if advised else "\nnothing here is likely slow")


def show_check(check: Check) -> None:
    """Prints a line, and the advice below it."""
    for line in beside(f"{check.name:{NAME_WIDTH}}", one_line(check.text), sys.stdout):
        write_line(line)
    if check.advice:
        arrow = encodable("→", "->", sys.stdout)
        lines = beside(f"{'':{NAME_WIDTH}}{arrow} ", one_line(check.advice), sys.stdout)
        write_styled(rich_console(), [styled(line, "dim") for line in lines])


def _terminal() -> Check:
    """What the terminal can show, of stdout; the chat needs one for stdin, too."""
    kind, encoding = os.environ.get("TERM", "none"), sys.stdout.encoding or "unknown"
    if not sys.stdout.isatty():
        return Check(
            "terminal", f"stdout is no terminal; encoding {encoding}", None, {"terminal": False, "encoding": encoding}
        )
    width, colours = terminal_width(sys.stdout), takes_escapes(sys.stdout)
    depth = os.environ.get("COLORTERM") or ("256" if "256" in kind else "16")
    text = f"{kind}, {width} columns, encoding {encoding}, {f'colours ({depth})' if colours else 'no colours'}"
    advice = None
    if "utf" not in encoding.lower():
        advice = "not UTF-8: characters beyond it are replaced; `export PYTHONUTF8=1`, or a locale of UTF-8"
    elif not colours:
        advice = "no colours and no line editing beyond the terminal's own: TERM=dumb or NO_COLOR says so"
    facts = {"terminal": True, "term": kind, "columns": width, "colours": colours, "encoding": encoding}
    return Check("terminal", text, advice, facts)
