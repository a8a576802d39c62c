"""Results as tables and as rows: Markdown and HTML of any cells, CSV that a reader takes, rows for a data frame."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from tiny_models import MIXED, write_model

import subbyte as sb
from subbyte.runtime.records import Tabular
from subbyte.runtime.tables import Table, csv_text, html, markdown

TEXT = "the thin man and the other one are in an old inn near the river, " * 6
ODD = "a|b\n\x1b[2J  <i>"


def test_columns_of_numbers_are_at_the_right() -> None:
    table = Table.of("t", ("name", "n>"), [("x", "1")])
    assert (table.columns, table.right) == (("name", "n"), {1})
    assert table == Table.of_figures("t", ("name", "n"), [("x", "1")])
    assert markdown(table, "end") == "**t**\n\n| name | n |\n|---|--:|\n| x | 1 |\n\nend"
    assert markdown() == html() == ""


def test_cells_of_anything_are_one_cell() -> None:
    table = Table.of_figures(ODD, (ODD, "n"), [(ODD, "1")])
    lines = markdown(table).splitlines()
    assert len(lines) == 5 and all(line.isprintable() for line in lines)
    assert lines[2] == r"| a\|b \x1b[2J <i> | n |"
    assert "<i>" not in html(table) and "\x1b" not in html(table)


def test_csv_is_one_line_a_record() -> None:
    text = csv_text([{"a": ODD, "b": None}, {"c": 0.1}], ["b"])
    assert [*csv.DictReader(io.StringIO(text))] == [
        {"b": "", "a": r"a|b \x1b[2J <i>", "c": ""}, {"b": "", "a": "", "c": "0.1"},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A result of every function that has several rows."""
    folder = tmp_path_factory.mktemp("tables")
    a, b = folder / "a.gguf", folder / "b.gguf"
    write_model(a, shape={**MIXED, "n_layer": 2}, types=["F32"])
    write_model(b, shape={**MIXED, "n_layer": 2}, types=["Q4_0"])
    with sb.load(a) as first, sb.load(b) as second:
        return {
            "perplexity": sb.perplexity([first, second], TEXT, n_ctx=32, chunks=5),
            "compare": sb.compare(first, [first, second], TEXT, n_ctx=32, chunks=2),
            "blame": sb.blame(first, second, TEXT, n_ctx=32, chunks=1),
            "report": sb.report([a, b], TEXT, n_ctx=32, chunks=5, prompt=8, generate=2, repeats=1),
            "bench": sb.bench(a, prompt=[4, 8], generate=[2], repeats=1),
            "diff": sb.diff(a, b, weights=True),
            "heatmap": sb.heatmap(Path(b)),
            "quantize": sb.quantize(a, folder / "q.gguf", "Q8_0", dry_run=True),
        }


NAMES = ["perplexity", "compare", "blame", "report", "bench", "diff", "heatmap", "quantize"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.thorough
def test_rows_of_a_result(name: str, results: dict[str, Any]) -> None:
    """Plain values under the same names in each row, as a data frame takes them; the CSV has the same."""
    found = results[name]
    assert isinstance(found, Tabular)
    rows = found.records()
    assert len(rows) >= 2 and results.keys() == {*NAMES}
    assert all(isinstance(value, (str, int, float, type(None))) for row in rows for value in row.values())
    read = [*csv.DictReader(io.StringIO(found.to_csv()))]
    assert len(read) == len(rows) and {*read[0]} == {name for row in rows for name in row}
    for of_csv, row in zip(read, rows, strict=True):
        assert {name: str(value) for name, value in row.items() if value is not None} == {
            name: value for name, value in of_csv.items() if value != ""
        } or name == "diff"
