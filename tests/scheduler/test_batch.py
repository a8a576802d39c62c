"""`subbyte batch`: a result for each line, whatever it is, and a run that goes on where another one was cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import write_model

import subbyte as sb
from subbyte.cli.main import run
from subbyte.errors import FileExists
from subbyte.runtime.batch.batch import BatchOptions, run_batch
from subbyte.runtime.batch.results import ResultsFile, json_line
from subbyte.runtime.types import SessionOptions

GREEDY = sb.Sampling(temperature=0)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
GOOD: list[dict[str, Any]] = [
    {"prompt": "the thing", "id": "first"},
    {"prompt": "in another", "max_tokens": 2},
    {"messages": [{"role": "user", "content": "the"}], "system": "on"},
    {"prompt": "the", "temperature": 1.0, "seed": 3, "stop": ["e"]},
    {"prompt": "the", "regex": "[ab]{2}"},
    {"prompt": "the", "logit_bias": {"97": 50}, "id": None},
]
BAD = [
    ("nothing", "not JSON"), ("[1]", "not a JSON object"), ("{}", 'needs "prompt" or "messages"'),
    ('{"prompt": "a", "top": 1}', "a field 'top'; known are id, prompt"), ('{"prompt": 1}', '"prompt" is no text'),
    ('{"prompt": "a", "tools": []}', 'is for "messages"'), ('{"prompt": "a", "temperature": "hot"}', "temperature"),
    ('{"prompt": "a", "max_tokens": -1}', "max_tokens"), ('{"messages": "hello"}', "messages"),
    ('{"prompt": "a", "regex": "a", "choices": ["b"]}', "regex and choices: give one"), ("[" * 9999, "not JSON"),
    (json.dumps({"prompt": "the " * 200}), "context"), ('{"prompt": "a", "schema": 5}', "schema"),
]  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, context_length=100)
    return path


def test_each_line_has_its_result(path: Path) -> None:
    lines = {i: json.dumps(row).encode() for i, row in enumerate(GOOD)}
    lines |= {100 + i: line.encode() for i, (line, _) in enumerate(BAD)}
    with sb.load(path, threads=1) as model:
        options = BatchOptions(GREEDY, 5, (), 3, SessionOptions(100))
        results = {row["index"]: row for row in run_batch(model, lines, options)}
        assert results.keys() == lines.keys()
        for i, (_, message) in enumerate(BAD):
            assert message in results[100 + i]["error"] and "text" not in results[100 + i]
        assert results[0]["id"] == "first" and "id" not in results[1] and results[5]["id"] is None
        for i, n in ((0, 5), (1, 2)):
            alone = model.generate(GOOD[i]["prompt"], sampling=GREEDY, max_tokens=n, n_ctx=100).run()
            assert (results[i]["text"], results[i]["tokens"]) == (alone.text, alone.tokens)
        with model.chat(system="on", sampling=GREEDY, max_tokens=5, n_ctx=100, activations="int8") as chat:
            assert results[2]["text"] == chat.send("the").text
        assert set(results[4]["text"]) <= {"a", "b"} and results[5]["text"] == "aaaaa"
        assert all(json.loads(json_line(row)) for row in results.values())


def test_a_run_goes_on_from_a_file(path: Path, tmp_path: Path, capfdbinary: Any) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"\n\n".join(json.dumps({"prompt": f"the {i}"}).encode() for i in range(6)) + b"\n")
    call = ["batch", str(path), str(source), "--temp", "0", "-n", "3", "-c", "64", "-t", "1"]
    assert run(call) == 0
    everything = sorted(map(json.loads, capfdbinary.readouterr().out.splitlines()), key=lambda row: row["index"])
    assert [row["index"] for row in everything] == [0, 2, 4, 6, 8, 10]
    assert run([*call, "--resume", str(out)]) == 0
    whole = out.read_bytes()
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]) + whole.splitlines(keepends=True)[2][:20])
    kept = out.read_bytes().splitlines()[:2]
    assert run([*call, "--resume", str(out)]) == 0
    rows = out.read_bytes().splitlines()
    assert rows[:2] == kept and len(rows) == 6
    assert sorted(json.loads(row)["text"] for row in rows) == sorted(row["text"] for row in everything)
    source.write_bytes(source.read_bytes() + b"[]\n")
    assert run([*call, "--resume", str(out)]) == 5
    assert b"1 of 7 lines could not be answered" in capfdbinary.readouterr().err


@pytest.mark.parametrize(
    "content", [b"text", b"text\n", b'{"index": 0}\n', b'{"index": 0, "line": "no"}\n', b"\xff\n[]"]
)
def test_a_file_of_something_else_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(sb.SubbyteError, match="line 1 is no result of this input; give another place"):
        ResultsFile(tmp_path / "x", {0: b"{}"})
    assert (tmp_path / "x").read_bytes() == content
    with ResultsFile(tmp_path / "y", {0: b"{}"}), pytest.raises(FileExists, match="another run writes it"):
        ResultsFile(tmp_path / "y", {0: b"{}"})
    with pytest.raises(sb.ResourceError):
        ResultsFile(tmp_path / "no" / "y", {})


def test_the_caller_may_leave_early(path: Path) -> None:
    lines = {i: b'{"prompt": "the", "ignore_eos": true}' for i in range(50)}
    with sb.load(path, threads=1) as model:
        for _ in run_batch(model, lines, BatchOptions(GREEDY, None, (), 4, SessionOptions(100))):
            break
        assert model.generate("the", max_tokens=1, n_ctx=10).run().usage.completion <= 1
