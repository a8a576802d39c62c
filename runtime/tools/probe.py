"""A model's format of calls, found by rendering its chat template: what differs when a message has calls.

An answer of text, one call, two calls and a call with two arguments are rendered, with names and values that no
template has. What stands before the name, between name, key and value, and behind, are the marks; where two calls have
some of them in common, the rest belongs to the whole. Nothing is read out of the template's source.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from subbyte.runtime.tools.format import Syntax
from subbyte.runtime.tools.json_calls import NamedCalls, ObjectCalls
from subbyte.runtime.tools.literal_calls import BareKeyCalls, PythonCalls
from subbyte.runtime.tools.tagged_calls import TaggedCalls

QUESTION, TEXT = "q7k2w9x4?", "t5z8m3v1"
_ID = "j4h6f2d81"
_NAMES, _KEYS, _VALUES = ("fn6r1y8u", "gn2p7e4i"), ("k9s3l5o0", "m1w8a6j2"), ("v7x2c9b4", "z3q5g8h1")
_SCHEMA = {"type": "object", "properties": {key: {"type": "string"} for key in _KEYS}, "required": [_KEYS[0]]}
TOOLS = [{"type": "function", "function": {"name": n, "description": "d", "parameters": _SCHEMA}} for n in _NAMES]

_RESULT_ROLES = ("tool", "tool_response")  # the second: Granite 3.0
_MAX_MARK = 128  # characters: no vendor's is as long
_CDATA = "<![CDATA["

Render = Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]] | None], str | None]
"""The prompt for messages and tools, without the opening of an answer; None where the template fails."""


def _call(number: int, *keys: int, value: str = "") -> dict[str, Any]:
    """The call of a tool, as a message has it."""
    values = {_KEYS[i]: value or _VALUES[i] for i in keys}
    return {"type": "function", "id": _ID, "function": {"name": _NAMES[number], "arguments": values}}


@dataclass(frozen=True)
class _Parts:
    """What stands around the parts of calls.

    section: around all calls; open, close: around each; behind_name: between name and key; assigns: between key and
    value; next_key: between a value and the next key. cdata: whether a value with marks of its own stands in CDATA.
    """

    section: tuple[str, str]
    open: str
    behind_name: str
    assigns: str
    close: str
    next_key: str
    cdata: bool


def probe(render: Render, reasoning_end: str, ends: Sequence[str]) -> Syntax | None:
    """The syntax in which a template shows calls; None if it shows none, or in no way that is known.

    reasoning_end: what closes reasoning, which may stand before a call. ends: texts of tokens that end an answer.
    """
    parts = _parts(render, reasoning_end, ends)
    syntax = None if parts is None else _syntax(parts)
    return None if syntax is None or max(map(len, syntax.marks)) > _MAX_MARK else syntax


def shows_tools(render: Render) -> bool:
    """Whether the template tells the model which tools there are."""
    prompt = render([{"role": "user", "content": QUESTION}], TOOLS) or ""
    return all(name in prompt for name in _NAMES)


def result_role(render: Render) -> str | None:
    """The role under which the template shows the result of a call; None if it shows it under no known one."""
    asked: list[Mapping[str, Any]]
    asked = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "", "tool_calls": [_call(0, 0)]}]
    for role in _RESULT_ROLES:
        result = {"role": role, "content": TEXT, "tool_call_id": _ID, "name": _NAMES[0]}
        if TEXT in (render([*asked, result], TOOLS) or ""):
            return role
    return None


def _parts(render: Render, reasoning_end: str, ends: Sequence[str]) -> _Parts | None:
    def answer(content: str, *calls: dict[str, Any]) -> str:
        message = {"role": "assistant", "content": content, **({"tool_calls": list(calls)} if calls else {})}
        return (render([{"role": "user", "content": QUESTION}, message], TOOLS) or "").rpartition(QUESTION)[2]

    said, one, two = answer(TEXT), answer("", _call(0, 0)), answer("", _call(0, 0), _call(1, 0))
    before, _, after = said.partition(TEXT)
    whole = _split(one, _NAMES[0], _KEYS[0], _VALUES[0])
    if whole is None or not after + before:
        return None
    head, behind_name, assigns, tail = whole
    if reasoning_end and reasoning_end in head:  # empty reasoning, which only one of the answers may have
        head = head.rpartition(reasoning_end)[2]
    else:  # what every answer begins with
        head = head[len(_first_tags(_common_start(head, before))) :]
    tail = _until(tail[: len(tail) - len(_last_tags(_common_end(tail, after), tail))], ends)
    if any(end in head for end in ends if end):  # a call in a message of its own: the answer would have ended before
        return None
    longer = _split(answer("", _call(0, 0, 1)), _VALUES[0], _KEYS[1])
    next_key = longer[1] if longer else ""
    cdata = _CDATA in answer("", _call(0, 0, value="<&>"))
    between = _split(two, _VALUES[0], _NAMES[1])
    if between is None:  # a template that takes one call
        return _Parts(("", ""), head, behind_name, assigns, tail, next_key, cdata)
    open, close = _last_tags(_common_end(head, between[1]), head), _first_tags(_common_start(tail, between[1]))
    section = head[: len(head) - len(open)].strip(), tail[len(close) :].strip()
    return _Parts(section, open, behind_name, assigns, close, next_key, cdata)


def _syntax(parts: _Parts) -> Syntax | None:
    if re.fullmatch(r'"\s*:\s*"', parts.assigns):
        return _json_syntax(parts)
    head, tail = parts.section[0] + parts.open, parts.close + parts.section[1]
    if parts.behind_name == "(" and parts.assigns in ("='", '="'):
        return PythonCalls(_without_end(head, "["), _without_start(tail, parts.assigns[1], ")", "]"))
    quote = parts.assigns[1:].strip()
    if parts.behind_name == "{" and parts.assigns.startswith(":") and quote and parts.open.strip():
        return BareKeyCalls(parts.open.strip(), _without_start(parts.close, quote, "}"), quote)
    return _tagged_syntax(parts) if "<" in parts.next_key else None


def _json_syntax(parts: _Parts) -> Syntax | None:
    behind_name, close = _without_end(parts.behind_name, '"', "{"), _without_start(parts.close, '"', "}")
    inside = re.fullmatch(r'(?s)(.*?)\{\s*"name"\s*:\s*"', parts.open)
    key = re.fullmatch(r'"\s*,\s*"(arguments|parameters)"\s*:', behind_name)
    if inside and key:
        id = re.match(r'\s*,\s*"id"\s*:\s*"\w+"', close)
        close = _without_start(close[id.end() if id else 0 :], "}")
        head, tail = (parts.section[0] + inside[1]).strip(), (close + parts.section[1]).strip()
        open, close = _without_end(head, "["), _without_start(tail, "]")
        return ObjectCalls(open, close, head.endswith("["), key[1], id is not None)
    open, name, id_mark = parts.open, "", ""
    if _ID in open:
        open, _, name = open.partition(_ID)
    elif _ID in behind_name:
        id_mark, _, behind_name = behind_name.partition(_ID)
    if not open.strip() or not behind_name.strip():
        return None
    return NamedCalls(open.strip(), behind_name.strip(), close, parts.section, id_mark.strip(), name.strip())


def _tagged_syntax(parts: _Parts) -> Syntax | None:
    key = parts.next_key[parts.next_key.rfind("<") :].strip()
    end = _first_tags(_common_start(parts.close + parts.section[1], parts.next_key))
    behind_name = _without_end(parts.behind_name, key)
    open, value, close, end = parts.open.strip(), parts.assigns, parts.close[len(end) :].strip(), end.rstrip()
    if not all(mark.strip() for mark in (open, key, value, end, close)):
        return None
    return TaggedCalls(open, behind_name, key, value, end, close, parts.section, parts.cdata)


def _split(text: str, *parts: str) -> list[str] | None:
    """What stands before, between and behind these parts of a text, in order."""
    found = []
    for part in parts:
        before, part, text = text.partition(part)
        if not part:
            return None
        found.append(before)
    return [*found, text]


def _common_start(one: str, other: str) -> str:
    n = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:n]


def _common_end(one: str, other: str) -> str:
    return _common_start(one[::-1], other[::-1])[::-1]


def _until(text: str, ends: Sequence[str]) -> str:
    """The text before the first of these ends."""
    return min((text.partition(end)[0] for end in ends if end), key=len, default=text)


def _first_tags(text: str) -> str:
    """The beginning of a text, without half a tag at its end."""
    return text[: text.rfind("<")] if text.rfind("<") > text.rfind(">") else text


def _last_tags(end: str, text: str) -> str:
    """The end of a text, without the half of a tag that the text before it begins."""
    before = text[: len(text) - len(end)]
    return end[end.find(">") + 1 :] if before.rfind("<") > before.rfind(">") else end


def _without_start(text: str, *parts: str) -> str:
    """A text without these parts at its beginning, and without white space around."""
    for part in parts:
        text = text.strip().removeprefix(part)
    return text.strip()


def _without_end(text: str, *parts: str) -> str:
    """A text without these parts at its end, the last one first, and without white space around."""
    for part in parts:
        text = text.strip().removesuffix(part)
    return text.strip()
