"""Function calling measured on models of random weights, which say what a grammar makes them say."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT
from template_conversations import source
from tiny_models import write_model

import subbyte as sb
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.errors import SubbyteError, UnsupportedError
from subbyte.runtime.toolcheck.answers import CaseAnswer
from subbyte.runtime.toolcheck.result import CaseOutcome, Mode, ToolcheckRun
from subbyte.runtime.tools.call import ToolCall
from subbyte.runtime.tools.known import CHANNELS

pytest.importorskip("llguidance")


def one_way(name: str, **values: Any) -> dict[str, Any]:
    """A function that a grammar leaves no choice in."""
    properties = {key: {"type": "string", "enum": [value]} for key, value in values.items()}
    return {"name": name, "parameters": {"type": "dict", "properties": properties, "required": [*values]}}


def row(id: str, function: dict[str, Any], *truth: Any) -> str:
    fields = {"id": id, "question": [[{"role": "user", "content": "Do it."}]], "function": [function]}
    return json.dumps({**fields, "ground_truth": truth} if truth else fields)


TOOL = {
    "name": "gate_open",
    "parameters": {
        "properties": {"which": {"type": "string", "enum": ["left"]}}, "required": ["which"], "type": "object",
    },
}  # fmt: skip
GATE, DOOR = one_way("gate.open", which="left"), one_way("door", which="back")
CASES = "\n".join([
    row("simple_0", GATE, {"gate.open": {"which": ["left"]}}), row("simple_1", DOOR, {"door": {"which": ["front"]}}),
    row("irrelevance_0", GATE), row("mine_0", GATE, {"gate.open": {"which": ["LEFT", ""]}}),
])  # fmt: skip
SHORT: dict[str, Any] = {"max_tokens": 200, "n_ctx": 1024, "n_parallel": 2}
LINE = ("-f", "cases.jsonl", "-n", "200", "-c", "1024", "--parallel", "2", "-t", "1")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toolcheck")
    for name, seed, template in (("a", 0, "lfm2-1.2b"), ("b", 1, "lfm2-1.2b"), ("none", 0, "gemma-3")):
        strings = {"tokenizer.chat_template": source(template)}  # LFM2's calls are a list, which one call may end
        write_model(folder / f"{name}.gguf", seed=seed, strings=strings, context_length=2048)
    (folder / "cases.jsonl").write_text(CASES)
    return folder


@pytest.fixture
def model(folder: Path) -> Iterator[sb.Model]:
    with sb.load(folder / "a.gguf", threads=1) as model:
        yield model


@pytest.fixture
def subbyte(folder: Path, command_line: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(folder)
    return command_line


@pytest.mark.thorough
def test_held_to_calls_a_model_of_random_weights_calls_right(folder: Path, model: sb.Model) -> None:
    steps: list[sb.Step] = []
    run = sb.toolcheck([model, folder / "b.gguf"], CASES, **SHORT, on_progress=steps.append)
    wrong = {"simple_0": None, "simple_1": "wrong_value", "mine_0": None}  # but for how often it is called
    for o in run.outcomes:
        calls = o.answer.calls
        if o.mode == "constrained":
            assert calls and {call.arguments["which"] for call in calls} <= {"left", "back"}
            assert o.failure == ("too_many_calls" if len(calls) > 1 else wrong[o.id])
        else:
            assert not calls and o.failure == (None if o.id == "irrelevance_0" else "no_call")
    assert steps[-1].done == steps[-1].total == 14 and steps[-1].what.startswith("b.gguf: free 1 of 4, constrained ")
    accuracy, paired = run.accuracy(0, "free"), run.paired(1, "free")
    assert accuracy is not None and accuracy.estimate == 1 / 4 and run.accuracy(0, "free", "x") is None
    assert paired is not None and (paired.both, paired.neither) == (1, 3) and run.verdict(1, "free") == "undecided"
    greedy = sb.Sampling(temperature=0)
    held = next(o for o in run.outcomes if o.mode == "constrained").answer
    with model.chat(tools=[TOOL], tool_choice="required", n_ctx=1024, sampling=greedy, max_tokens=200) as chat:
        assert [call.arguments for call in chat.send("Do it.").tool_calls] == [call.arguments for call in held.calls]


@pytest.mark.thorough
def test_a_run_goes_on_where_one_was_ended(model: sb.Model, tmp_path: Path) -> None:
    whole = sb.toolcheck(model, CASES, **SHORT)
    file = tmp_path / "answers"
    with sb.ToolcheckMeasurement(model, CASES, resume=file, **SHORT) as measurement:
        next(iter(measurement))
        assert 1 <= measurement.n_done < measurement.n_total == 7 and measurement.result().outcomes
    n_lines = file.read_bytes().count(b"\n")
    resumed = sb.toolcheck(model, CASES, resume=file, **SHORT)
    assert (resumed.n_done, resumed.n_total, resumed.seconds) == (7, 7, None) and whole.seconds is not None
    assert resumed.outcomes == whole.outcomes and file.read_bytes().count(b"\n") == 4 > n_lines >= 1
    assert sb.toolcheck(model, CASES, resume=file, **SHORT).outcomes == whole.outcomes
    file.write_bytes(file.read_bytes() * 2)
    doubled = sb.toolcheck(model, CASES, resume=file, **SHORT)
    assert doubled.outcomes == whole.outcomes and doubled.n_done == 7
    with pytest.raises(SubbyteError, match="line 1 is no result of this input with this model and these options"):
        sb.toolcheck(model, CASES, resume=file, **{**SHORT, "max_tokens": 201})
    first, *others = file.read_text().splitlines(keepends=True)
    for damaged in (first.replace('"n_tokens"', '"tokens"'), re.sub('"n_tokens": \\d+', '"n_tokens": 1e999', first)):
        file.write_text("".join([damaged, *others]))
        with pytest.raises(SubbyteError, match="line 1 holds no answers"):
            sb.toolcheck(model, CASES, resume=file, **SHORT)


def test_a_case_that_no_grammar_can_be_made_of_ends_no_run(model: sb.Model, tmp_path: Path) -> None:
    cases = row("simple_0", one_way("f", a="\ud800"), {"f": {"a": ["\ud800"]}}) + "\n" + row("irrelevance_0", GATE)
    short = {**SHORT, "max_tokens": 4, "resume": tmp_path / "answers"}
    runs = [sb.toolcheck(model, cases, **short) for _ in range(2)]
    assert runs[0].outcomes == runs[1].outcomes and runs[0].n_done == 3
    (held,) = (o for o in runs[0].outcomes if o.mode == "constrained")
    assert held.failure == "not_asked" and held.detail and held.detail.isprintable()


def test_what_can_not_be_measured_is_told_before_anything_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedError, match=r"none\.gguf: its chat template does not show tools"):
        sb.toolcheck([folder / "a.gguf", folder / "none.gguf"], CASES)
    with monkeypatch.context() as patch, pytest.raises(ValueError, match=r"a\.gguf calls by headers"):
        patch.setattr(sb.Model, "tool_format", CHANNELS["<|channel|>commentary"])
        sb.toolcheck(folder / "a.gguf", CASES)
    for wrong, message in (
        ({"modes": []}, "modes: there are none"), ({"modes": ["bound"]}, "modes is 'bound'"),
        ({"base": 1}, "base is 1, but there are 1 models"), ({"max_tokens": 0}, "max_tokens"),
        ({"n_parallel": 0}, "n_parallel"), ({"cases": "x"}, "line 1: not JSON"), ({"thinking": 1}, "thinking"),
        ({"modes": ["constrained"], "cases": row("irrelevance_0", GATE)}, "only such as want no call"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            sb.toolcheck(folder / "a.gguf", **{"cases": CASES, **wrong})
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(sb.ResourceError, match=r"pip install 'subbyte\[json\]'"):
        sb.toolcheck(folder / "a.gguf", CASES)
    short = {**SHORT, "n_ctx": 16, "modes": "free"}
    refused = sb.toolcheck(folder / "a.gguf", CASES, **short).outcomes
    assert {o.failure for o in refused} == {"not_asked"} and "16" in refused[0].detail


@pytest.mark.thorough
def test_the_command_in_every_format(subbyte: Call) -> None:
    code, text, err = subbyte("toolcheck", "a.gguf", "b.gguf", *LINE, "-v", "--resume", "kept")
    assert code == 0 and err.count("\n") == 2 and "simple_1, b.gguf, free: no call: text only\n    " in text
    assert 'door(which="back")' in text and max(map(len, text.partition("\n\nsimple_0")[0].splitlines())) <= 80
    more = (*LINE, "--resume", "kept")
    code, out, err = subbyte("toolcheck", "a.gguf", "b.gguf", *more, "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and not err and len(rows) == 2 * 4 + 2 * 3
    assert (rows[-1]["category"], rows[-1]["cases"]) == ("all", "3") and 0 < float(rows[-1]["p"]) <= 1
    code, out, _ = subbyte("toolcheck", "a.gguf", "b.gguf", *more, "-o", "json")
    found = json.loads(out)
    assert len(found["outcomes"]) == 14 and len(found["results"]) == len(rows) and found["n_cases"] == 4
    code, out, _ = subbyte("toolcheck", "a.gguf", "b.gguf", *more, "-o", "md")
    assert code == 0 and out.count("| category | model |") == out.count("| category | flips |") == 2
    assert "**b.gguf against a.gguf, free**" in out and "**What is wrong with the others, constrained**" in out
    code, out, _ = subbyte("toolcheck", "b.gguf", "--base", "a.gguf", *LINE, "--mode", "free", "-o", "json")
    assert json.loads(out)["models"] == ["a.gguf", "b.gguf"] and json.loads(out)["base"] == 0
    code, out, err = subbyte(
        "toolcheck", "a.gguf", "-f", "everyday", "-c", "1024", "--mode", "free", "-n", "1", "-o", "csv"
    )
    assert code == 0 and len(out.splitlines()) == 1 + 6
    template = str(ROOT / "examples/hermes.jinja")
    code, out, err = subbyte(
        "toolcheck", "none.gguf", "--chat-template", template, *LINE, "--mode", "free", "-o", "json"
    )
    assert code == 0 and len(json.loads(out)["outcomes"]) == 4
    code, out, err = subbyte("toolcheck", "none.gguf")
    assert code == 3 and not out and err.count("\n") == 1 and "give another template" in err


def test_ctrl_c_shows_what_was_measured(subbyte: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def update(self: ProgressBar, what: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressBar, "update", update)
    code, out, err = subbyte("toolcheck", "a.gguf", *LINE, "-o", "json")
    found = json.loads(out)
    assert code == 130 and 1 <= len(found["outcomes"]) == found["n_done"] <= 4 and found["n_total"] == 7
    assert "of 7 answers; none are kept, --resume FILE would keep them" in err
    code, out, _ = subbyte("toolcheck", "a.gguf", *LINE)
    assert code == 130 and re.search(r"\n[1-4] of 7 answers to 4 cases, greedy, .* cache, [\d.]+ s\n", out)


def outcome(model: int, id: int, failure: Any, mode: Mode = "free", category: str = "simple") -> CaseOutcome:
    answer = CaseAnswer((ToolCall("", "f\x1b", {"a": 'x\n"'}),))
    return CaseOutcome(model, mode, f"{category}_{id}", category, failure, "f: \x1b[2J", answer)


def test_models_are_compared_case_by_case() -> None:
    outcomes = [outcome(0, i, None) for i in range(10)] + [outcome(1, i, "wrong_value") for i in range(9)]
    outcomes += [outcome(2, i, None) for i in range(10)] + [outcome(1, 99, None), outcome(0, 50, "cut", category="b")]
    run = ToolcheckRun(
        ("a", "b", "c"), 0, ("free",), tuple(outcomes), (0, 1, 0), 11, 31, 33, "", None, 10, None, "f16", "int8", 1.0
    )
    paired = run.paired(1, "free", "simple")
    assert paired is not None and (paired.both, paired.base_only, paired.this_only, paired.neither) == (0, 9, 0, 0)
    assert paired.p == pytest.approx(2 / 2**9) and run.verdict(1, "free") == "worse"
    assert run.verdict(2, "free") == "identical" and run.paired(1, "free", "b") is None
    assert run.failures(1, "free") == {"wrong_value": 9} and run.failures(2, "free") == {}
    table, against, same, wrong = run.tables()
    assert [each[:3] for each in table.rows][-3:] == [
        ("all", "a", "10 of 11"),
        ("all", "b", "1 of 10"),
        ("all", "c", "10 of 10"),
    ]
    assert (against.title, same.title) == ("b against a, free", "c against a, free")
    assert against.rows[0][:3] == ("simple", "+0 -9", "-100.0%") and same.rows[-1][-1] == "identical"
    assert wrong.rows == [("cut", "1", "0", "0"), ("wrong value", "0", "9", "0")]
    assert len(run.failed().rows) == 10 and all("\x1b" not in cell for each in run.failed().rows for cell in each)
    assert run.records()[-1]["verdict"] == "identical" and json.dumps(run.to_dict())


@pytest.mark.parametrize(
    ("text", "names", "malformed"),
    [
        ("Fine.", [], False), ("<tool_call>\n{broken\n</tool_call>", [], True),
        ('<tool_call>\n{"name": "other", "arguments": {"a": 1}}\n</tool_call>', ["other"], False),
        ('<tool_call>\n{"name": "a b", "arguments": {}}\n</tool_call>', [], True),
    ],
)  # fmt: skip
def test_calls_of_functions_that_there_are_not_are_seen(text: str, names: list[str], malformed: bool) -> None:
    from tool_calling_chat import make

    chat = make(text, strict_tools=False)
    answer = CaseAnswer.of(chat.send("?"), chat._calling.format)
    assert [call.name for call in answer.calls] == names and answer.malformed is malformed
    assert CaseAnswer.from_dict(json.loads(json.dumps(answer.to_dict()))) == answer
