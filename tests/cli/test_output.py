"""`-o`: one option of all commands, and the same result in each of the formats."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from command_list import commands
from tiny_models import MIXED, write_model

import subbyte as sb
from subbyte.cli.main import cli
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.runtime.tables import Table, flat

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 1500).tolist())
Call = Callable[..., str]


OTHERS = {"batch", "serve", "history export"}  # JSON lines, no result, Markdown for people


@pytest.mark.parametrize(("name", "command"), [row for row in commands(cli) if row[0] not in OTHERS])
def test_every_command_takes_o_with_text_first(name: str, command: click.Command) -> None:
    options = {flag: option for option in command.params for flag in option.opts}
    formats = options["-o"].type
    assert isinstance(formats, click.Choice)
    assert [*formats.choices][:2] == ["text", "json"] and options["-o"].default == "text"
    assert "--output" in options and "--json" not in options


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    for name, types in {"a": ["F32"], "b": ["Q8_0"], "c": ["Q4_0"]}.items():
        write_model(folder / f"{name}.gguf", shape={**MIXED, "n_layer": 2}, types=types)
    (folder / "text").write_bytes(TEXT)
    of = {f"blk.{i}.{kind}.weight": np.ones((1, 8)) for i in range(2) for kind in ("attn_q", "ffn_up")}
    sb.Imatrix(of, {name: np.ones(1) for name in of}, {}, (), 1, 32).save(folder / "i")
    (folder / "questions").write_text('{"question": "the", "choices": ["in", "an"], "answer": 1}\n' * 5)
    return folder


@pytest.fixture
def call(folder: Path, command_line: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs `subbyte` in the folder of the models; stdout of a run that went well or found differences."""
    monkeypatch.chdir(folder)

    def call(*args: str) -> str:
        code, out, err = command_line(*args)
        assert code in (0, 1)
        assert err == ""
        return out

    return call


def rows_of(text: str) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    assert all(None not in row and None not in row.values() for row in rows)
    return rows


TABLES = {
    "quantize a.gguf out.gguf Q8_0 --dry-run": ("type", {"Q8_0", "F32"}),
    "recipe check b.gguf Q4_0": ("found", {"Q8_0"}),
    "inspect b.gguf": ("type", {"Q8_0", "F32"}),
    "inspect b.gguf --tensors": ("type", {"Q8_0", "F32"}),
    "inspect b.gguf --heatmap": ("type", {"Q8_0"}),
    "diff a.gguf b.gguf --weights": ("part", {"tensor", "weights"}),
    "split a.gguf s --max-tensors 12 --dry-run": ("path", {"s-00001-of-00002.gguf", "s-00002-of-00002.gguf"}),
    "set-metadata a.gguf general.name=str:n --out s.gguf --overwrite": ("now", {"str:n"}),
    "imatrix-stats i": ("kind", {"attn_q", "ffn_up"}),
    "imatrix-stats i --by layer": ("group", {"0", "1"}),
    "bench b.gguf -p 4 -n 2 -r 1 -t 1": ("test", {"pp4", "tg2"}),
    "report b.gguf c.gguf -f text -c 64 --chunks 3 -p 4 -n 2 -r 1": ("model", {"b.gguf", "c.gguf"}),
    "perplexity b.gguf c.gguf -f text -c 64 --chunks 3": ("model", {"b.gguf", "c.gguf"}),
    "choices b.gguf c.gguf -f questions": ("model", {"b.gguf", "c.gguf"}),
    "compare a.gguf b.gguf c.gguf -f text -c 64 --chunks 3": ("model", {"b.gguf", "c.gguf"}),
}


@pytest.mark.parametrize("line", TABLES)
@pytest.mark.thorough
def test_a_table_in_every_format(line: str, call: Call) -> None:
    column, values = TABLES[line]
    args = line.split()
    assert len(call(*args).splitlines()) > 1
    assert json.loads(call(*args, "-o", "json"))
    assert {Path(row[column]).name for row in rows_of(call(*args, "-o", "csv"))} == values
    tables = [part for part in call(*args, "-o", "md").split("\n\n") if part.startswith("|")]
    assert tables
    for table in tables:
        head, rule, *_ = table.splitlines()
        assert head.count("|") == rule.count("|") > 2 and set(rule) <= set("|-:")


def test_files_that_are_the_same(call: Call) -> None:
    assert call("diff", "a.gguf", "a.gguf", "-o", "csv") == "part,name,a,b\n"
    assert "no difference" in call("diff", "a.gguf", "a.gguf", "-o", "md")
    assert call("recipe", "check", "b.gguf", "Q8_0", "-o", "csv") == "tensor,found,recipe\n"


def test_what_is_no_table(call: Call) -> None:
    found = json.loads(call("imatrix", "a.gguf", "i.gguf", "-f", "text", "-c", "64", "--chunks", "2", "-o", "json"))
    assert (found["out"], found["chunks"], found["n_ctx"]) == ("i.gguf", 2, 64) and found["n_tensors"] > 4
    exported = json.loads(call("recipe", "export", "Q4_K_M", "b.gguf", "-o", "json"))
    assert exported["command"].startswith("llama-quantize ") and exported["tensor_types"]
    assert "Q4_K_M" in json.loads(call("recipe", "show", "-o", "json"))["recipes"]


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"é": float("nan"), "b": [float("inf")]})
    assert json.loads(capsys.readouterr().out) == {"é": None, "b": [None]}


def test_csv_takes_all_columns_of_all_records(capsys: pytest.CaptureFixture[str]) -> None:
    print_csv([dict(flat({"a": 1, "b": {"c": 0.5}})), {"d": "x,\x1b[1m\ny"}], ["a", "e"])
    assert capsys.readouterr().out == 'a,e,b_c,d\n1,,0.5,\n,,,"x,\\x1b[1m y"\n'


def test_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    print_markdown(Table.of("t", ("a", "b>"), [("x|y", "1\n2")]), "end")
    assert capsys.readouterr().out == "**t**\n\n| a | b |\n|---|--:|\n| x\\|y | 1 2 |\n\nend\n"
