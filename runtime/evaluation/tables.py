"""Results as tables: for the terminal, Markdown and notebooks alike."""

from __future__ import annotations

import html as escaping
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import NamedTuple


class Table(NamedTuple):
    """Headings, and rows of as many cells; the first column is text, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def markdown(tables: Iterable[Table]) -> str:
    """Tables with their titles, if they have any, in bold."""
    parts = []
    for table in tables:
        title = [f"**{table.title}**\n"] if table.title else []
        line = "|---" + "|--:" * (len(table.columns) - 1) + "|"
        parts.append("\n".join([*title, _md(table.columns), line, *map(_md, table.rows)]))
    return "\n\n".join(parts)


def html(tables: Iterable[Table]) -> str:
    """For notebooks."""
    parts = []
    for table in tables:
        head = "".join(f"<th>{escaping.escape(column)}</th>" for column in table.columns)
        rows = ("".join(f"<td>{escaping.escape(cell)}</td>" for cell in row) for row in table.rows)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        title = f"<p><b>{escaping.escape(table.title)}</b></p>" if table.title else ""
        parts.append(f"{title}<table><tr>{head}</tr>{body}</table>")
    return "".join(parts)


def short_names(paths: Sequence[str]) -> list[str]:
    """The files' names, or their whole paths where two have the same name."""
    names = [PurePath(path).name for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def _md(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
