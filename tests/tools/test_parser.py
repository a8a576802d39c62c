"""Calls in streamed answers: every format, whatever the pieces; what is no call stays text, and all of it."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tool_formats import ANSWERS, CALLS, GEMMA, GPT_OSS, HERMES, LLAMA, QWEN_CODER, TOOLS

from subbyte.runtime.tools.call import ToolCall
from subbyte.runtime.tools.format import ToolFormat
from subbyte.runtime.tools.parser import Piece, ToolParser
from subbyte.runtime.tools.tool import tools_by_name


def pieces(format: ToolFormat, *texts: str, tools: object = TOOLS) -> list[Piece]:
    """What a parser makes of an answer in these pieces, neighbouring texts joined."""
    parser = ToolParser(format, tools)  # type: ignore[arg-type]
    found = [piece for text in texts for piece in parser.feed(text)] + parser.finish()
    joined: list[Piece] = []
    for piece in found:
        assert piece
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def calls(found: list[Piece]) -> list[tuple[str, dict[str, object]]]:
    return [(piece.name, piece.arguments) for piece in found if isinstance(piece, ToolCall)]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_recorded_answer_is_parsed_whatever_its_pieces(name: str) -> None:
    format, answer = ANSWERS[name]
    whole = pieces(format, answer)
    assert calls(whole) == CALLS and len(whole) == len(CALLS)
    assert pieces(format, *answer) == whole
    for cut in range(len(answer)):
        assert pieces(format, answer[:cut], answer[cut:]) == whole
    if "Llama 3" in name and "mark" not in name:  # there a call is the beginning of an answer
        assert pieces(format, "Let me see. " + answer) == ["Let me see. " + answer]
    else:
        assert pieces(format, f"Let me see.\n\n{answer}\nThat is all.") == ["Let me see.", *whole, "That is all."]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_call_appears_as_soon_as_it_is_whole_and_nothing_of_it_before(name: str) -> None:
    format, answer = ANSWERS[name]
    parser = ToolParser(format, TOOLS)
    came = [
        len(answer[: i + 1]) for i, c in enumerate(answer) for piece in parser.feed(c) if isinstance(piece, ToolCall)
    ]
    assert len(came) == len(CALLS)
    assert came[0] < answer.index("note") and came[1] < answer.index("clock")


@pytest.mark.parametrize("name", ANSWERS)
def test_a_broken_answer_is_text(name: str) -> None:
    format, answer = ANSWERS[name]
    unknown = re.sub("weather|note|clock", "other", answer)
    assert pieces(format, *unknown) == [unknown]
    found = pieces(format, *answer.replace("weather", "weather2"))
    assert isinstance(found[0], str) and "weather2" in found[0]
    assert calls(found) in ([], CALLS[1:])  # a list, or section, is one piece
    for cut in range(len(answer)):  # the model was stopped
        found = pieces(format, answer[:cut])
        n = len(calls(found))
        assert calls(found) == CALLS[:n]
        if not n:
            assert found == ([answer[:cut]] if cut else [])


MARKS = sorted({mark for format, _ in ANSWERS.values() for mark in format.marks})
WORDS = [
    "weather",
    "note",
    "clock",
    '{"name": "',
    '", "arguments": ',
    "{}",
    "[",
    "]",
    "{",
    "}",
    '"',
    "'",
    "(",
    ")",
    "\\",
]
WORDS += ["city", "days", "3", "=", ":", ",", ";", " ", "\n", "ö", "\ud800", "]]>", "<![CDATA["]
FORMATS = [*{id(format): format for format, _ in ANSWERS.values()}.values()]


@given(st.sampled_from(FORMATS), st.lists(st.sampled_from([*MARKS, *WORDS]) | st.text(max_size=5), max_size=40))
@settings(max_examples=400)
@example(LLAMA, ["{", '"name', '": "clock"}; {', "x"])
@example(HERMES, ["<tool_call>", "<tool_call>", '{"name": "clock"}', "</tool_call>", " \n ", "<tool"])
def test_any_text_in_any_pieces_is_kept(format: ToolFormat, texts: list[str]) -> None:
    whole = "".join(texts)
    found = pieces(format, *texts)
    assert pieces(format, whole) == found
    if not calls(found):
        assert "".join(map(str, found)) == whole
    else:  # calls are cut out, and white space beside them
        rest = whole
        for piece in found:
            if isinstance(piece, str):
                assert piece in rest
                rest = rest[rest.index(piece) + len(piece) :]


def test_what_may_become_a_call_is_held_back_and_no_more() -> None:
    parser = ToolParser(HERMES, TOOLS)
    assert parser.feed("a < b <tool") == ["a < b"] and parser.begun is None
    assert parser.feed("s and") == [" <tools and"]
    assert parser.feed("\n<tool_call>") == [] and parser.begun is not None
    assert parser.feed(" x") == ["\n<tool_call> x"] and parser.begun is None
    bare = ToolParser(LLAMA, TOOLS)
    assert bare.feed('{"na') == [] and bare.feed('tion": 1') == ['{"nation": 1']
    assert bare.feed(', "name') == [', "name'] and bare.finish() == []


def test_values_between_tags_have_the_kinds_of_the_schema() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "i": {"type": "integer"}, "n": {"type": "number"}, "b": {"type": "boolean"}, "s": {"type": "string"},
            "o": {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "e": {"enum": ["1", "2"]}, "any": {},
            "r": {"$ref": "#/$defs/R"}, "u": {"type": ["string", "null"]},
        },
        "$defs": {"R": {"type": "array"}},
    }  # fmt: skip
    tools = tools_by_name([{"name": "f", "parameters": parameters}])
    values = {
        "i": ("12", 12), "n": ("3", 3), "b": ("True", True), "s": (" 1 ", " 1 "), "o": ("null", None),
        "e": ("1", "1"), "any": ('{"a": [1]}', {"a": [1]}), "r": ("['x']", ["x"]), "u": ("12", "12"),
        "unknown": ("x y", "x y"),
    }  # fmt: skip
    body = "".join(f"<parameter={key}>\n{text}\n</parameter>\n" for key, (text, _) in values.items())
    answer = f"<tool_call>\n<function=f>\n{body}</function>\n</tool_call>"
    expected = {key: value for key, (_, value) in values.items()}
    assert calls(pieces(QWEN_CODER, *answer, tools=tools)) == [("f", expected)]
    wrong = answer.replace("12\n", "twelve\n", 1)
    assert calls(pieces(QWEN_CODER, wrong, tools=tools)) == [("f", {**expected, "i": "twelve"})]


def test_text_between_tags_is_kept_as_it_is() -> None:
    text = "\n  if a:\n    print('</parameter>')\n\n</function>x<parameter=y>"
    answer = f"<tool_call>\n<function=note>\n<parameter=text>\n{text}\n</parameter>\n</function>\n</tool_call>"
    assert calls(pieces(QWEN_CODER, *answer)) == [("note", {"text": text})]


def test_ids_are_the_models_own_or_counted() -> None:
    format, answer = ANSWERS["Mistral 7B v0.3, Nemo"]
    parser = ToolParser(format, TOOLS, n_before=41)
    assert [piece.id for piece in parser.feed(answer) if isinstance(piece, ToolCall)] == [
        "abcdef123", "call00042", "call00043",
    ]  # fmt: skip


def test_a_call_may_lack_its_end() -> None:
    assert calls(pieces(HERMES, '<tool_call>{"name": "clock"}')) == [("clock", {})]
    assert pieces(HERMES, '<tool_call>{"name": "clock"} and so')[1:] == ["and so"]
    assert calls(pieces(HERMES, '<tool_call>{"name": "note", "parameters": "{\\"text\\": \\"a\\"}"}')) == [
        ("note", {"text": "a"})
    ]
    assert calls(pieces(GEMMA, '<|tool_call>call:weather{city:<|"|>a\\<|"|>,days:-1.5e3}')) == [
        ("weather", {"city": "a\\", "days": -1500.0})
    ]


def test_prose_about_functions_is_text() -> None:
    text = "Of to=functions.weather and to=functions. The end"
    assert pieces(GPT_OSS, *text) == [text]


def test_much_white_space_is_text_and_does_not_hide_a_call() -> None:
    many = " " * 100
    for format, call in ((LLAMA, '{"name": "clock"}'), (HERMES, '<tool_call>{"name": "clock"}</tool_call>')):
        whole = pieces(format, many + call + many)
        assert whole[0] == " " * 36 and calls(whole) == [("clock", {})] and len(whole) == 2
        assert pieces(format, *(many + call + many)) == whole


def test_deep_and_endless_calls_are_text() -> None:
    for start in ('<tool_call>{"name": ' + "[" * 100_000, '<tool_call>{"name": "' + "<tool_call>" * 10_000):
        assert pieces(HERMES, start) == [start]
    nested = "[" * 1000 + "]" * 1000
    answer = f"<tool_call><function=note><parameter=tags>{nested}</parameter></function></tool_call>"
    assert calls(pieces(QWEN_CODER, answer)) == [("note", {"tags": nested})]
