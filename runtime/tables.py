"""Results as tables, for the terminal, Markdown and notebooks; and as rows of figures, for CSV and data frames."""

from __future__ import annotations

import csv
import html as escaping
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from subbyte.runtime.text import one_line


class Table(NamedTuple):
    """Headings, and rows of as many cells, fit to be read. right: columns of numbers, which have their cells there."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    right: frozenset[int]

    @classmethod
    def of(cls, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
        """A table; a heading that ends with > has its cells at the right."""
        right = frozenset(i for i, column in enumerate(columns) if column.endswith(">"))
        return cls(title, tuple(column.removesuffix(">") for column in columns), list(rows), right)

    @classmethod
    def of_figures(cls, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
        """A table of numbers behind a first column of text."""
        return cls(title, tuple(columns), list(rows), frozenset(range(1, len(columns))))


def markdown(*parts: Table | str) -> str:
    """Tables, their titles in bold, and paragraphs of text as they are; a cell is one line, whatever it holds."""
    return "\n\n".join(_markdown(part) if isinstance(part, Table) else part for part in parts)


def html(*tables: Table) -> str:
    """For notebooks."""
    parts = []
    for table in tables:
        head = "".join(f"<th>{_html(column)}</th>" for column in table.columns)
        body = "".join(f"<tr>{''.join(f'<td>{_html(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
        title = f"<p><b>{_html(table.title)}</b></p>" if table.title else ""
        parts.append(f"{title}<table><tr>{head}</tr>{body}</table>")
    return "".join(parts)


def csv_text(records: Iterable[Mapping[str, Any]], columns: Iterable[str] = ()) -> str:
    """A line of headings and a line a record, figures in full; what a record lacks stays empty.

    columns: come first, and are there without any records; the others follow as the records bring them.
    """
    rows = list(records)
    names = dict.fromkeys([*columns, *(name for row in rows for name in row)])
    text = io.StringIO()
    out = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
    out.writeheader()
    for row in rows:
        out.writerow({name: one_line(value) if isinstance(value, str) else value for name, value in row.items()})
    return text.getvalue()


def flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Facts within facts by joined names: `kld_value`, `kld_percentiles_99.9`."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}_")
        else:
            yield prefix + name, value


def short_names(paths: Sequence[str]) -> list[str]:
    """The files' names, or their whole paths where two have the same name."""
    names = [PurePath(path).name for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def _markdown(table: Table) -> str:
    title = f"**{one_line(table.title)}**\n\n" if table.title else ""
    rule = "".join("--:|" if i in table.right else "---|" for i in range(len(table.columns)))
    rows = (table.columns, *table.rows)
    first, *others = (" | ".join(one_line(cell).replace("|", r"\|") for cell in row) for row in rows)
    return title + "\n".join([f"| {first} |", f"|{rule}", *(f"| {row} |" for row in others)])


def _html(text: str) -> str:
    return escaping.escape(one_line(text))
