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
from subbyte.runtime.batch import results
from subbyte.runtime.batch.batch import BatchOptions, run_batch
from subbyte.runtime.batch.results import ResultsFile, json_line, line_digest
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
    {"prompt": "the", "temperature": 1.0, "top_k": 1 << 63, "seed": 3},
]
BAD = [
    ("nothing", "not JSON"), ("[1]", "not a JSON object"), ("{}", 'needs "prompt" or "messages"'),
    ('{"prompt": "a", "top": 1}', "a field 'top'; known are id, prompt"), ('{"prompt": 1}', '"prompt" is no text'),
    ('{"prompt": "a", "tools": []}', 'is for "messages"'), ('{"prompt": "a", "temperature": "hot"}', "temperature"),
    ('{"prompt": "a", "max_tokens": -1}', "max_tokens"), ('{"messages": "hello"}', "messages"),
    ('{"prompt": "a", "regex": "a", "choices": ["b"]}', "regex and choices: give one"), ("[" * 9999, "not JSON"),
    (json.dumps({"prompt": "the " * 200}), "context"), ('{"prompt": "a", "schema": 5}', "schema"),
    *((json.dumps({"prompt": "a", "logit_bias": bias}), "logit_bias is") for bias in ([1, 2], [], None, 5, "x")),
    ('{"prompt": "a", "logit_bias": {"-1": 5}}', "a key '-1', but must have token ids"),
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
        found = {row["index"]: row for row in run_batch(model, lines, options)}
        assert found.keys() == lines.keys()
        for i, (_, message) in enumerate(BAD):
            assert message in found[100 + i]["error"] and "text" not in found[100 + i]
        assert found[0]["id"] == "first" and "id" not in found[1] and found[5]["id"] is None
        for i, n in ((0, 5), (1, 2)):
            alone = model.generate(GOOD[i]["prompt"], sampling=GREEDY, max_tokens=n, n_ctx=100).run()
            assert (found[i]["text"], found[i]["tokens"]) == (alone.text, alone.tokens)
        with model.chat(system="on", sampling=GREEDY, max_tokens=5, n_ctx=100, activations="int8") as chat:
            assert found[2]["text"] == chat.send("the").text
        assert set(found[4]["text"]) <= {"a", "b"} and found[5]["text"] == "aaaaa"
        assert all(json.loads(json_line(row)) for row in found.values())


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
    for _ in range(2):  # what an earlier run could not answer counts too
        assert run([*call, "--resume", str(out)]) == 5
        assert b"1 of 7 lines could not be answered" in capfdbinary.readouterr().err
    other = str(tmp_path / "other.gguf")
    write_model(Path(other), seed=1, context_length=100)
    for another in (
        [call[0], other, *call[2:]], [*call, "--top-k", "3"], [*call, "-c", "65"], [*call, "--cache-type", "q8_0"],
        [*call, "--override-kv", "tokenizer.chat_template=str:x"], [*call, "--activations", "int8x2"],
    ):  # fmt: skip
        assert run([*another, "--resume", str(out)]) == 5
        assert b"no result of this input with this model and these options" in capfdbinary.readouterr().err
    assert run([*call, "--parallel", "2", "--resume", str(out)]) == 5


@pytest.mark.parametrize(
    "content",
    [
        b"text", b"text\n", b'{"index": 0}\n', b'{"index": 0, "line": "no"}\n', b'{"index": 1, "line": null}\n',
        b"\xff\n[]", b'{"index": 0, "line": "no', b"\0" * 200,
    ],
)  # fmt: skip
def test_a_file_of_something_else_stays_as_it_is(tmp_path: Path, content: bytes, monkeypatch: Any) -> None:
    monkeypatch.setattr(results, "MAX_LINE", 100)
    digests = {0: line_digest(b"", b"{}")}
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(sb.SubbyteError, match=r"line 1 is no result of this input with .*; give another place"):
        ResultsFile(tmp_path / "x", digests)
    assert (tmp_path / "x").read_bytes() == content
    with ResultsFile(tmp_path / "y", digests), pytest.raises(FileExists, match="another run writes it"):
        ResultsFile(tmp_path / "y", digests)
    with pytest.raises(sb.ResourceError):
        ResultsFile(tmp_path / "no" / "y", {})


def test_of_a_file_of_results_the_last_line_may_be_cut(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(results, "MAX_LINE", 100)
    path, digests = tmp_path / "x", {i: line_digest(b"", b"%d" % i) for i in range(2)}
    with ResultsFile(path, digests) as file:
        for i in digests:
            file.add({**file.head(i), "text": "a" * 20})
    whole = path.read_bytes()
    n = len(whole) // 2
    for size in (0, 1, 12, 30, n - 1, n, n + 1, n + 40, 2 * n - 1, 2 * n):
        path.write_bytes(whole[:size])
        with ResultsFile(path, digests) as file:
            assert file.done == set(range(size // n)) and path.read_bytes() == whole[: size // n * n]
    path.write_bytes(whole + b" " * 100)
    with pytest.raises(sb.SubbyteError, match="line 3 is no result"):
        ResultsFile(path, digests)
    assert len(path.read_bytes()) == 2 * n + 100


def test_the_caller_may_leave_early(path: Path) -> None:
    lines = {i: b'{"prompt": "the", "ignore_eos": true}' for i in range(50)}
    with sb.load(path, threads=1) as model:
        for _ in run_batch(model, lines, BatchOptions(GREEDY, None, (), 4, SessionOptions(100))):
            break
        assert model.generate("the", max_tokens=1, n_ctx=10).run().usage.completion <= 1
