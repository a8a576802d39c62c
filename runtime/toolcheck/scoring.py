"""Whether an answer calls what its case wants called, and what is wrong where it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from subbyte.runtime.text import quoted
from subbyte.runtime.toolcheck.answers import CaseAnswer
from subbyte.runtime.toolcheck.cases import ExpectedCall, ToolCase
from subbyte.runtime.toolcheck.values import has_right_type, is_acceptable, may_be_left_out
from subbyte.runtime.tools.call import ToolCall
from subbyte.runtime.tools.tool import Tool

FailureKind: TypeAlias = Literal[
    "no_call", "malformed", "cut", "wrong_function", "too_few_calls", "too_many_calls", "missing_argument",
    "unknown_argument", "wrong_type", "wrong_value", "unwanted_call", "not_asked",
]  # fmt: skip
"""What is wrong with an answer. malformed: a call that has begun, but can't be read. cut: the limit of tokens came
before the end of an answer with calls, whatever it has called by then, or before there was text or a call to read.
unwanted_call: no function of the case could help. not_asked: the case could not be put to the model, since its prompt
is too long, the template refuses it, or no grammar can be made of its functions."""


class Failure(NamedTuple):
    """What is wrong with an answer, and which part of it, in words."""

    kind: FailureKind
    detail: str


def score(case: ToolCase, answer: CaseAnswer) -> Failure | None:
    """What is wrong with an answer; None if it is right."""
    if answer.refused:
        return Failure("not_asked", answer.refused)
    if case.wanted == "none":
        if answer.calls:
            return Failure("unwanted_call", _names(answer.calls))
        return _cut(answer) if _ends_too_early(answer) else None
    if not answer.calls:
        return _no_calls(answer)
    if case.wanted == "any":
        return None
    return _cut(answer) if answer.is_cut else _check_calls(case, answer.calls)


def _no_calls(answer: CaseAnswer) -> Failure:
    if _ends_too_early(answer):
        return _cut(answer)
    return Failure("malformed", "a call that can't be read") if answer.malformed else Failure("no_call", "text only")


def _ends_too_early(answer: CaseAnswer) -> bool:
    """Whether the limit ended an answer without calls where one might still have come: within it, or in reasoning."""
    return answer.is_cut and (answer.malformed or not answer.text.strip())


def _cut(answer: CaseAnswer) -> Failure:
    return Failure("cut", f"by the limit, at {answer.n_tokens} tokens")


def check_call(tool: Tool, expected: ExpectedCall, call: ToolCall) -> Failure | None:
    """What is wrong with a call where another one is expected; None if it is that."""
    if call.name != expected.name:
        return Failure("wrong_function", f"{call.name} instead of {expected.name}")
    given, right = call.arguments, expected.arguments
    properties = tool.parameters.get("properties", {})
    for name in tool.parameters.get("required", ()):
        if name not in given:
            return Failure("missing_argument", f"{call.name}: {name}")
    for name, value in given.items():
        if name not in properties or name not in right:
            return Failure("unknown_argument", f"{call.name}: {name}")
        if not has_right_type(value, properties[name], right[name]):
            return Failure("wrong_type", f"{call.name}: {name} is {_shown(value)}, right is {_choices(right[name])}")
        if not is_acceptable(value, right[name]):
            return Failure("wrong_value", f"{call.name}: {name} is {_shown(value)}, right is {_choices(right[name])}")
    for name, values in right.items():
        if name not in given and not may_be_left_out(values):
            return Failure("missing_argument", f"{call.name}: {name}")
    return None


def _check_calls(case: ToolCase, calls: Sequence[ToolCall]) -> Failure | None:
    """Calls against those that are expected, in whatever order."""
    expected = case.expected
    if unknown := [call.name for call in calls if call.name not in case.tools]:
        return Failure("wrong_function", f"{unknown[0]}, which there is not")
    if len(calls) != len(expected):
        kind: FailureKind = "too_few_calls" if len(calls) < len(expected) else "too_many_calls"
        return Failure(kind, f"{len(calls)} instead of {len(expected)}: {_names(calls)}")
    failures = [[check_call(case.tools[right.name], right, call) for call in calls] for right in expected]
    taken = _pair(failures)
    left = [i for i in range(len(expected)) if i not in taken.values()]
    if not left:
        return None
    free = [j for j in range(len(calls)) if j not in taken]
    found = [failure for i in left for j in free if (failure := failures[i][j]) is not None]
    return next((failure for failure in found if failure.kind != "wrong_function"), found[0])


def _pair(failures: Sequence[Sequence[Failure | None]]) -> dict[int, int]:
    """The most calls that can each be one of those expected: an expectation for each, by augmenting paths."""
    taken: dict[int, int] = {}

    def place(i: int, seen: set[int]) -> bool:
        for j, failure in enumerate(failures[i]):
            if failure is None and j not in seen:
                seen.add(j)
                if j not in taken or place(taken[j], seen):
                    taken[j] = i
                    return True
        return False

    for i in range(len(failures)):
        place(i, set())
    return taken


def _names(calls: Sequence[ToolCall]) -> str:
    return ", ".join(call.name for call in calls)


def _choices(values: Sequence[Any]) -> str:
    return " or ".join("left out" if may_be_left_out([value]) else _shown(value) for value in values) or "nothing"


def _shown(value: Any) -> str:
    return quoted(json.dumps(value, ensure_ascii=False))[1:-1]


def count_kinds(failures: Sequence[Failure | None]) -> Mapping[FailureKind, int]:
    """How often each kind of failure there is."""
    counts: dict[FailureKind, int] = {}
    for failure in failures:
        if failure is not None:
            counts[failure.kind] = counts.get(failure.kind, 0) + 1
    return counts
