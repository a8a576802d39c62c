"""Results on stdout for programs and documents: strict JSON, CSV and Markdown. Text for people is `tables`' work."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from subbyte.cli.terminal.console import write_line
from subbyte.runtime.tables import Table, csv_text, markdown


def print_json(facts: Mapping[str, Any]) -> None:
    """Writes strict JSON, in ASCII for any locale; a number that JSON has no word for becomes null."""
    strict = json.loads(json.dumps(facts), parse_constant=lambda _: None)  # NaN and Infinity: a file may hold some
    write_line(json.dumps(strict, indent=2))


def print_csv(records: Iterable[Mapping[str, Any]], columns: Iterable[str] = ()) -> None:
    """Writes records as CSV; columns: that come first, and are there without any records."""
    write_line(csv_text(records, columns).removesuffix("\n"))


def print_markdown(*parts: Table | str) -> None:
    """Writes tables, their titles in bold, and paragraphs of text as they are."""
    write_line(markdown(*parts))
