"""The report of `subbyte report`: figures by file for people, the table of a model card, JSON and CSV."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from subbyte.cli.options import Output
from subbyte.cli.terminal.console import one_line, printable
from subbyte.cli.terminal.output import flat, print_csv, print_json, shown
from subbyte.cli.terminal.tables import numeric, print_table

if TYPE_CHECKING:
    from subbyte.runtime.report.report import Report


def print_report(output: Output, command: str, files: Sequence[str], report: "Report") -> None:
    """Writes a report, and what it takes to measure it again, to stdout. files: names of the texts."""
    if output == "json":
        print_json({"command": command, "files": list(files), **report.to_dict()})
    elif output == "csv":
        print_csv(_records(report))
    elif output == "md":
        print(printable(shown(report.markdown(one_line(command)))))
    else:
        _print_figures(report)


def _print_figures(report: "Report") -> None:
    """A column for each file, which fits a terminal sooner than the card's row for each."""
    table = report.table()
    cells = [[shown(cell) for cell in row] for row in (table.columns, *table.rows)]
    (_, *names), *rows = zip(*cells, strict=True)
    print_table(*numeric("", ("", *names), rows))
    for note in report.notes():
        print(f"\n{printable(shown(note))}")


def _records(report: "Report") -> Iterator[dict[str, Any]]:
    """A file each, every figure in full; sha256: of each of its parts."""
    shared = {name: getattr(report, name) for name in ("version", "cpu", "isa", "threads")}
    for row in report.rows:
        facts = row.to_dict()
        facts["sha256"] = " ".join(row.sha256.values())
        del facts["perplexity"]["running"]
        yield {name: value for name, value in flat(facts) if value is not None} | shared
