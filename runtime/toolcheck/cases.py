"""Cases of function calling in the file format of BFCL, the Berkeley Function Calling Leaderboard.

A line of JSON is a case: `{"id": "parallel_7", "question": [[messages]], "function": [descriptions]}`. What it should
be answered with is `"ground_truth"` in the same line, or in a line of a second file with the same id, as BFCL has it:
a list of `{function: {argument: [acceptable values]}}`, where "" among the values says that it may be left out. What
comes before the number in an id is the category.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal, NamedTuple, TypeAlias

from subbyte.runtime import arguments
from subbyte.runtime.chat.messages import Message, checked_messages
from subbyte.runtime.json_lines import json_lines
from subbyte.runtime.text import quoted
from subbyte.runtime.toolcheck.schemas import tool_name, tool_of
from subbyte.runtime.tools.tool import Tool, tools_by_name

Wanted: TypeAlias = Literal["calls", "none", "any"]
"""What answers a case: the calls that are expected, no call (irrelevance), or whatever call (relevance)."""

MAX_CASES = 1 << 20
_NUMBER = re.compile(r"[_-]\d[\d-]*\Z")  # parallel_7, live_simple_3-0-1
_CODE = ("java", "javascript")


class ExpectedCall(NamedTuple):
    """A call that an answer must have: for each argument the values that are right, "" where it may be left out."""

    name: str
    arguments: Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class ToolCase:
    """A question to a model that has functions, and how it should call them. Made by `read_cases`."""

    id: str
    category: str
    messages: Sequence[Message]
    tools: Mapping[str, Tool]
    wanted: Wanted
    expected: Sequence[ExpectedCall] = ()
    source: bytes = field(default=b"", repr=False)
    """the lines that it was made of, which tell it from others"""


def read_cases(texts: Iterable[str | bytes], answers: Iterable[str | bytes] = ()) -> list[ToolCase]:
    """The cases of JSON lines; answers: those of a second file. Raises ValueError, which names the line."""
    known = {id: (truth, line) for id, truth, line in _answers(answers)}
    cases: dict[str, ToolCase] = {}
    for where, row, line in _rows(texts, "cases"):
        try:
            case = _case(row, line, known)
            if case.id in cases:
                raise ValueError(f"there is another case {quoted(case.id)}")
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        cases[case.id] = case
        if len(cases) > MAX_CASES:
            raise ValueError(f"{where}: more than {MAX_CASES} cases")
    if not cases:
        raise ValueError('cases: there are none; a line is {"id": …, "question": [[…]], "function": […]}')
    return list(cases.values())


def example_cases() -> bytes:
    """The lines of the 60 cases that ship: home, calendar, files, shopping, units, travel, music and mail."""
    return (files("subbyte.runtime.toolcheck") / "everyday.jsonl").read_bytes()


def digest(cases: Iterable[ToolCase]) -> str:
    """The sha256 of all that the cases say."""
    found = hashlib.sha256()
    for case in cases:
        found.update(case.source + b"\n")
    return found.hexdigest()


def _rows(texts: Iterable[str | bytes], what: str) -> Iterator[tuple[str, dict[str, Any], bytes]]:
    """The objects of lines, with where they stand."""
    given = [text.encode(errors="replace") if isinstance(text, str) else text for text in texts]
    for i, text in enumerate(given):
        name = what if len(given) == 1 else f"{what}[{i}]"
        for number, line, row in json_lines(text, f"{name}, "):
            where = f"{name}, line {number}"
            if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not row["id"]:
                raise ValueError(f'{where}: must be an object with an "id"')
            yield where, row, line


def _answers(texts: Iterable[str | bytes]) -> Iterator[tuple[str, object, bytes]]:
    seen = set[str]()
    for where, row, line in _rows(texts, "answers"):
        if "ground_truth" not in row:
            raise ValueError(f'{where}: there is no "ground_truth"')
        if row["id"] in seen:
            raise ValueError(f"{where}: there is another answer to {quoted(row['id'])}")
        seen.add(row["id"])
        yield row["id"], row["ground_truth"], line


def _case(row: Mapping[str, Any], line: bytes, answers: Mapping[str, tuple[object, bytes]]) -> ToolCase:
    id = row["id"]
    category = _NUMBER.sub("", id) or id
    wanted = _wanted(category)
    messages, tools = _messages(row.get("question")), _tools(row.get("function"), may_be_none=wanted == "none")
    truth = row.get("ground_truth")
    if truth is None and id in answers:
        truth, answer = answers[id]
        line += b"\n" + answer
    if wanted == "calls":
        if not truth:
            raise ValueError(f'case {quoted(id)} has no "ground_truth", nor do the answers have one for it')
        return ToolCase(id, category, messages, tools, wanted, _expected(truth, tools), line)
    if truth:
        raise ValueError(f'case {quoted(id)} is of {category}, which has no "ground_truth"')
    return ToolCase(id, category, messages, tools, wanted, (), line)


def _wanted(category: str) -> Wanted:
    words = category.lower().split("_")
    if any(word in words for word in _CODE):
        raise ValueError(
            f"{quoted(category)}: values written in Java or JavaScript are not checked; leave such cases out"
        )
    return "none" if "irrelevance" in words else "any" if "relevance" in words else "calls"


def _messages(question: object) -> list[Message]:
    if not isinstance(question, list) or not question or not all(isinstance(turn, list) for turn in question):
        raise ValueError('"question" must be a list of turns, each a list of messages')
    if len(question) > 1:
        raise ValueError(f'"question" has {len(question)} turns; only cases of one turn can be checked')
    messages = checked_messages(question[0])
    if not messages or messages[-1].role != "user":
        raise ValueError('"question" must end with a message of the user')
    return messages


def _tools(functions: object, *, may_be_none: bool) -> dict[str, Tool]:
    functions = [functions] if isinstance(functions, Mapping) else functions
    if not isinstance(functions, list) or not (functions or may_be_none):
        raise ValueError('"function" must be a list of descriptions of functions')
    return tools_by_name(map(tool_of, functions))


def _expected(truth: object, tools: Mapping[str, Tool]) -> list[ExpectedCall]:
    taken = '"ground_truth" must be a list of {function: {argument: [acceptable values]}}'
    if not isinstance(truth, list):
        raise ValueError(taken)
    calls = []
    for each in truth:
        if not isinstance(each, dict) or len(each) != 1:
            raise ValueError(taken)
        ((name, values),) = each.items()
        if (known := tool_name(name)) not in tools:
            raise ValueError(f'"ground_truth" calls {arguments.shown(name)}, which is none of the functions')
        if not isinstance(values, dict) or not all(isinstance(value, list) for value in values.values()):
            raise ValueError(taken)
        calls.append(ExpectedCall(known, values))
    return calls
