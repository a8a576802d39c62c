"""Cases in BFCL's files: what is taken, what is refused, and the ones that ship."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import jsonschema
import pytest

from subbyte.runtime.toolcheck.answers import CaseAnswer
from subbyte.runtime.toolcheck.cases import ToolCase, digest, example_cases, read_cases
from subbyte.runtime.toolcheck.scoring import score
from subbyte.runtime.toolcheck.values import may_be_left_out
from subbyte.runtime.tools.call import ToolCall

FUNCTION: dict[str, Any] = {
    "name": "map.find",
    "parameters": {
        "type": "dict",
        "properties": {
            "at": {"type": "tuple", "items": {"type": "float"}}, "what": {"type": "String"}, "more": {"type": "any"},
            "of": {"type": "dict", "properties": {"n": {"type": "integer", "default": 1}}},
        },
        "required": ["what"],
    },
}  # fmt: skip
ROW: dict[str, Any] = {
    "id": "live_simple_3-0-1",
    "question": [[{"role": "user", "content": "?"}]],
    "function": [FUNCTION],
}
TRUTH = [{"map.find": {"what": ["inn"]}}]


def read(row: object, *answers: object) -> list[ToolCase]:
    return read_cases([json.dumps(row)], [json.dumps(answer) for answer in answers])


def test_a_case_and_its_answer_in_one_file_or_in_two() -> None:
    (one,), (two,) = read({**ROW, "ground_truth": TRUTH}), read(ROW, {"id": ROW["id"], "ground_truth": TRUTH})
    assert one.id == ROW["id"] and one.category == "live_simple" and one.expected == two.expected
    assert one.expected[0].name == "map_find" and digest([one]) != digest([two])
    assert one.tools["map_find"].parameters["properties"] == {
        "at": {"type": "array", "items": {"type": "number"}}, "what": {"type": "string"}, "more": {},
        "of": {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("id", "category"),
    [("simple_0", "simple"), ("live_parallel_multiple_2-2-0", "live_parallel_multiple"), ("mine", "mine"), ("7", "7")],
)
def test_the_category_is_in_the_id(id: str, category: str) -> None:
    assert read({**ROW, "id": id, "ground_truth": TRUTH})[0].category == category


def test_irrelevance_needs_no_answer_and_no_function() -> None:
    (case,) = read({**ROW, "id": "live_irrelevance_1", "function": []})
    assert case.wanted == "none" and not case.tools
    assert read({**ROW, "id": "live_relevance_1"})[0].wanted == "any"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW, 'has no "ground_truth", nor do the answers'), ([1], 'must be an object with an "id"'),
        ({**ROW, "id": 3}, 'must be an object with an "id"'), ({**ROW, "id": "simple_java_3"}, "Java"),
        ({**ROW, "question": "?"}, '"question" must be a list of turns'), ({**ROW, "question": [[]]}, "must end with"),
        ({**ROW, "question": ROW["question"] * 2}, "has 2 turns"),
        ({**ROW, "question": [[{"role": "user", "content": 3}]]}, "content"),
        ({**ROW, "function": []}, '"function" must be a list'), ({**ROW, "function": [3]}, 'object with a "name"'),
        ({**ROW, "function": [FUNCTION] * 2}, "two of the name map_find"),
        ({**ROW, "function": [{"name": "a b"}]}, "a tool's name is 'a b'"),
        ({**ROW, "function": [{"name": "a", "parameters": {"properties": {"b": {"type": "matrix"}}}}]}, "'matrix'"),
        ({**ROW, "function": [{"name": "a", "parameters": [1]}]}, '"parameters" must be an object'),
        ({**ROW, "ground_truth": {"a": 1}}, '"ground_truth" must be a list'),
        ({**ROW, "ground_truth": [{"map.find": {"what": "inn"}}]}, '"ground_truth" must be a list'),
        ({**ROW, "ground_truth": [{"other": {}}]}, "'other', which is none of the functions"),
        ({**ROW, "id": "irrelevance_1", "ground_truth": TRUTH}, "is of irrelevance, which has no"),
    ],
)  # fmt: skip
def test_what_is_no_case_is_refused_with_its_line(row: object, message: str) -> None:
    with pytest.raises(ValueError, match="cases, line 2: ") as refused:
        read_cases(["\n" + json.dumps(row)])
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_files_that_are_none() -> None:
    good = json.dumps({**ROW, "ground_truth": TRUTH})
    for cases, answers, message in (
        (["", b"\n"], [], "there are none"), (["{"], [], "line 1: not JSON"),
        ([good, good], [], r"cases\[1\], line 1: there is another"),
        ([good], ['{"id": "a"}'], 'answers, line 1: there is no "ground_truth"'),
        ([good], ['{"id": "a", "ground_truth": []}'] * 2, r"answers\[1\], line 1: there is another answer"),
        (["[" * 99999], [], "not JSON"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            read_cases(cases, answers)  # type: ignore[arg-type]
    deep: dict[str, Any] = {"type": "integer"}
    for _ in range(100):
        deep = {"type": "array", "items": deep}
    with pytest.raises(ValueError, match="deeper than 64"):
        read({**ROW, "function": [{"name": "a", "parameters": {"properties": {"b": deep}}}]})


def concrete(right: Any) -> Any:
    """The first value that acceptable ones stand for."""
    if isinstance(right, dict):
        return {key: concrete(values[0]) for key, values in right.items()}
    return list(map(concrete, right)) if isinstance(right, list) else right


def test_the_cases_that_ship_are_sound() -> None:
    cases = read_cases([example_cases()])
    assert Counter(case.category for case in cases) == {
        "simple": 16, "multiple": 12, "parallel": 10, "parallel_multiple": 10, "irrelevance": 12,
    }  # fmt: skip
    for case in cases:
        for tool in case.tools.values():
            jsonschema.Draft202012Validator.check_schema(dict(tool.parameters))
        whole, short = (
            [
                ToolCall(
                    "",
                    e.name,
                    {key: concrete(v[0]) for key, v in e.arguments.items() if keep or not may_be_left_out(v)},
                )
                for e in case.expected
            ]
            for keep in (True, False)
        )
        for calls in (whole, short, [*reversed(whole)]):
            assert score(case, CaseAnswer(tuple(calls))) is None, case.id
            for call in calls:
                jsonschema.validate(call.arguments, dict(case.tools[call.name].parameters))
