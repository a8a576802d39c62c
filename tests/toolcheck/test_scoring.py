"""What counts as a right call: BFCL's rules, rule by rule."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from subbyte.runtime.toolcheck.answers import CaseAnswer
from subbyte.runtime.toolcheck.cases import ToolCase, read_cases
from subbyte.runtime.toolcheck.scoring import Failure, score
from subbyte.runtime.toolcheck.values import has_right_type, is_acceptable
from subbyte.runtime.tools.call import ToolCall

VALUES: list[tuple[Any, list[Any], bool]] = [
    ("Oslo", ["Oslo"], True), ("oslo", ["OSLO"], True), ("Oslo", ["Bergen", "Oslo"], True), ("Oslo", ["Bergen"], False),
    ("April 1, 2027", ["april 1 2027"], True), ("a/b-c_d.e*f^g", ["abcdefg"], True), ("it's", ['it"s'], True),
    ("a;b", ["ab"], False), ("", [""], True), ("x", [""], False), ("5", [5], False),
    (5, [5], True), (5, [5.0], True), (5.0, [5], True), (5.1, [5], False), (5, [], False), (0, [False], False),
    (True, [True], True), (True, [1], False), (1, [True], False), (None, [None], True), (None, [""], False),
    ([1, 2], [[1, 2]], True), ([2, 1], [[1, 2]], False), ([1], [[1, 2]], False), ([1, 2], [[2], [1, 2.0]], True),
    (["A b"], [["ab"]], True), ([["a"], ["b"]], [[["A"], ["B"]]], True), ([], [[]], True), ([], [""], False),
    ({"a": 1}, [{"a": [1, 2]}], True), ({"a": 3}, [{"a": [1, 2]}], False), ({"a": 1, "b": 2}, [{"a": [1]}], False),
    ({}, [{"a": [1]}], False), ({}, [{"a": [1, ""]}], True), ({"a": "X y"}, [{"a": ["xy"]}], True),
    ({"a": 1}, [{"b": [1]}, {"a": [1]}], True), ({"a": {"b": 1}}, [{"a": [{"b": 1}]}], True),
    ({"a": {"b": 2}}, [{"a": [{"b": [1, 2]}]}], True), ({"a": ["x"]}, [{"a": [["x"]]}], True),
    ([{"a": 1}, {"a": 2}], [[{"a": [1]}, {"a": [2]}]], True), ([{"a": 2}, {"a": 1}], [[{"a": [1]}, {"a": [2]}]], False),
    ([{"a": 1}], [[{"a": [1]}, {"a": [2]}]], False), ("x", [{"x": [1]}], False), ({"x": 1}, ["x"], False),
]  # fmt: skip


@pytest.mark.parametrize(("value", "acceptable", "right"), VALUES, ids=str)
def test_values(value: Any, acceptable: list[Any], right: bool) -> None:
    assert is_acceptable(value, acceptable) is right


TYPES: list[tuple[Any, dict[str, Any], list[Any], bool]] = [
    (1, {"type": "integer"}, [1], True), (1, {"type": "number"}, [1.0], True), (1.0, {"type": "integer"}, [1], False),
    ("1", {"type": "integer"}, [1], False), (True, {"type": "integer"}, [1], False),
    (1, {"type": "boolean"}, [True], False),
    ("x", {"type": "integer"}, ["x"], True), ("", {"type": "integer"}, ["", 3], False), (1, {}, ["a"], True),
    ([1], {"type": "array", "items": {"type": "integer"}}, [[1]], True),
    (["1"], {"type": "array", "items": {"type": "integer"}}, [[1]], False),
    ([1], {"type": "array", "items": {"type": "number"}}, [[1.5]], True), ([1], {"type": "array"}, [["a"]], True),
    ({}, {"type": "array"}, [[1]], False), (None, {"type": ["string", "null"]}, ["a"], True),
]  # fmt: skip


@pytest.mark.parametrize(("value", "schema", "acceptable", "right"), TYPES, ids=str)
def test_types(value: Any, schema: dict[str, Any], acceptable: list[Any], right: bool) -> None:
    assert has_right_type(value, schema, acceptable) is right


def function(name: str, required: Sequence[str] = (), **types: str) -> dict[str, Any]:
    properties = {key: {"type": kind, "description": ""} for key, kind in types.items()}
    parameters = {"type": "dict", "properties": properties, "required": list(required)}
    return {"name": name, "description": "", "parameters": parameters}


FUNCTIONS = [function("lamp.set", ["room"], room="string", level="integer", warmth="float"), function("stop")]
LAMP = {"lamp.set": {"room": ["hall", "the hall"], "level": [3, ""]}}


def case(*truth: Any, category: str = "simple") -> ToolCase:
    row: dict[str, Any] = {"id": f"{category}_0", "question": [[{"role": "user", "content": "?"}]]}
    row |= {"function": FUNCTIONS} | ({"ground_truth": list(truth)} if truth else {})
    return read_cases([json.dumps(row)])[0]


def lamp(**arguments: Any) -> ToolCall:
    return ToolCall("", "lamp_set", arguments)


STOP = ToolCall("", "stop", {})
BOTH = (LAMP, {"stop": {}})
TWO = ({"lamp.set": {"room": ["a"]}}, {"lamp.set": {"room": ["a", "b"]}})
CALLS: list[tuple[tuple[Any, ...], list[ToolCall], str | None]] = [
    ((LAMP,), [lamp(room="hall", level=3)], None), ((LAMP,), [lamp(room="The Hall")], None),
    ((LAMP,), [lamp(level=3)], "missing_argument"), ((LAMP,), [lamp(room="hall", warmth=2)], "unknown_argument"),
    ((LAMP,), [lamp(room="hall", colour="red")], "unknown_argument"),
    ((LAMP,), [lamp(room=7)], "wrong_type"), ((LAMP,), [lamp(room="attic")], "wrong_value"),
    ((LAMP,), [lamp(room="hall", level=3.0)], "wrong_type"), ((LAMP,), [lamp(room="hall", level=4)], "wrong_value"),
    ((LAMP,), [STOP], "wrong_function"), ((LAMP,), [ToolCall("", "lamp", {})], "wrong_function"),
    ((LAMP,), [], "no_call"), ((LAMP,), [lamp(room="hall"), lamp(room="hall")], "too_many_calls"),
    (({"lamp.set": {"room": ["a"], "level": [1]}},), [lamp(room="a")], "missing_argument"),
    (BOTH, [STOP], "too_few_calls"), (BOTH, [STOP, STOP], "wrong_function"),
    (BOTH, [STOP, lamp(room="hall")], None), (BOTH, [STOP, lamp(room="x")], "wrong_value"),
    (TWO, [lamp(room="a"), lamp(room="b")], None), (TWO, [lamp(room="b"), lamp(room="a")], None),
    (TWO[::-1], [lamp(room="a"), lamp(room="b")], None), (TWO, [lamp(room="b"), lamp(room="b")], "wrong_value"),
]  # fmt: skip


@pytest.mark.parametrize(("truth", "calls", "kind"), CALLS, ids=str)
def test_calls(truth: tuple[Any, ...], calls: list[ToolCall], kind: str | None) -> None:
    failure = score(case(*truth), CaseAnswer(tuple(calls)))
    assert (failure and failure.kind) == kind


def test_what_need_not_call_and_what_was_not_put_to_the_model() -> None:
    idle, any_call, wanted = case(category="irrelevance"), case(category="live_relevance"), case(LAMP)
    called, silent = CaseAnswer((lamp(room=1),)), CaseAnswer(text="No.")
    assert score(idle, called) == Failure("unwanted_call", "lamp_set") and score(idle, silent) is None
    assert score(any_call, called) is None and score(any_call, silent) == Failure("no_call", "text only")
    assert score(idle, CaseAnswer(text="<tool_call>", malformed=True)) is None
    for answer in (CaseAnswer(is_cut=True), CaseAnswer(text="<tool_call>{", malformed=True, is_cut=True)):
        failure = score(idle, answer)
        assert failure is not None and failure.kind == "cut"  # a call may still have come
    assert score(idle, CaseAnswer(text="I can't", is_cut=True)) is None
    refused = Failure("not_asked", "too long")
    assert [score(each, CaseAnswer(refused="too long")) for each in (idle, wanted)] == [refused] * 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (CaseAnswer(text="<tool_call>{", malformed=True), "malformed"), (CaseAnswer(text="Well"), "no_call"),
        (CaseAnswer(text="<tool_call>{", malformed=True, is_cut=True), "cut"), (CaseAnswer(is_cut=True), "cut"),
        (CaseAnswer(text="Once upon", is_cut=True), "no_call"),
        (CaseAnswer((lamp(room="hall"),), text="<tool_call>{", malformed=True, is_cut=True), "cut"),
        (CaseAnswer((lamp(room="hall"),), is_cut=True), "cut"),
    ],
)  # fmt: skip
def test_an_answer_without_a_whole_call_says_why(answer: CaseAnswer, kind: str) -> None:
    failure = score(case(LAMP), answer)
    assert failure is not None and failure.kind == kind


def test_the_words_of_a_failure_are_of_the_argument() -> None:
    assert score(case(LAMP), CaseAnswer((lamp(room="hall", level=4),))) == Failure(
        "wrong_value", "lamp_set: level is 4, right is 3 or left out"
    )
