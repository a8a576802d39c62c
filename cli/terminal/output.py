"""Results on stdout for programs and documents: strict JSON, CSV and Markdown. Text for people is `tables`' work."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from subbyte.cli.terminal.console import encodable, one_line, write_line
from subbyte.cli.terminal.tables import TextTable

_ASCII = {"±": "+/-", "Δ": "d", "→": "->"}


def print_json(facts: Mapping[str, Any]) -> None:
    """Writes strict JSON, in ASCII for any locale; a number that JSON has no word for becomes null."""
    strict = json.loads(json.dumps(facts), parse_constant=lambda _: None)  # NaN and Infinity: a file may hold some
    write_line(json.dumps(strict, indent=2))


def print_csv(records: Iterable[Mapping[str, Any]], columns: Iterable[str] = ()) -> None:
    """Writes a line of headings and a line a record, figures in full; what a record lacks stays empty.

    columns: come first, and are there without any records; the others follow as the records bring them.
    """
    rows = list(records)
    names = dict.fromkeys([*columns, *(name for row in rows for name in row)])
    out = csv.DictWriter(sys.stdout, fieldnames=list(names), lineterminator="\n")
    out.writeheader()
    for row in rows:
        out.writerow({name: one_line(value) if isinstance(value, str) else value for name, value in row.items()})


def flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Facts within facts by joined names: `kld_value`, `kld_percentiles_99.9`."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}_")
        else:
            yield prefix + name, value


def print_markdown(*parts: TextTable | str) -> None:
    """Writes tables, their titles in bold, and paragraphs of text as they are."""
    write_line(shown("\n\n".join(_markdown(part) if isinstance(part, TextTable) else part for part in parts)))


def _markdown(table: TextTable) -> str:
    title = f"**{one_line(table.title)}**\n\n" if table.title else ""
    rule = "".join("--:|" if column.endswith(">") else "---|" for column in table.columns)
    rows = (tuple(column.removesuffix(">") for column in table.columns), *table.rows)
    first, *others = (" | ".join(one_line(cell).replace("|", r"\|") for cell in row) for row in rows)
    return title + "\n".join([f"| {first} |", f"|{rule}", *(f"| {row} |" for row in others)])


def shown(text: str) -> str:
    """The text in characters that stdout has."""
    for sign, plain in _ASCII.items():
        text = text.replace(sign, encodable(sign, plain, sys.stdout))
    return text
