"""Calls under constraint: whatever a model wants to write, what comes is a call by its tool's schema."""

import random
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from tool_calling_chat import CALL, OSLO, make
from tool_formats import ANSWERS, FORMATS, TOOLS
from vendor_tokenizers import tokenizer

from subbyte.errors import ConstraintError
from subbyte.runtime.generation.events import TextDelta
from subbyte.runtime.tokenizer.tokenizer import Tokenizer
from subbyte.runtime.tools.call import ToolCall
from subbyte.runtime.tools.call_grammar import CallGrammars
from subbyte.runtime.tools.format import Syntax, ToolFormat
from subbyte.runtime.tools.parser import ToolParser
from subbyte.runtime.tools.tool import tools_by_name

pytest.importorskip("llguidance")

BOUNDED = tools_by_name([
    {
        "name": "set",
        "parameters": {
            "type": "object",
            "properties": {
                "n": {"type": "integer", "minimum": 0, "maximum": 99},
                "on": {"type": "boolean"},
                "mode": {"enum": ["slow", "very fast"]},
                "level": {"enum": [1, 2, None]},
            },
            "required": ["mode"],
        },
    },
    {"name": "sets", "parameters": {"properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"]}},
    {"name": "clock"},
])  # fmt: skip


def vocabulary(format: ToolFormat, folder: Path) -> Tokenizer:
    name = next((n for n, f in FORMATS.items() if f and f.syntaxes == format.syntaxes), "deepseek-v3.1")
    return tokenizer(name, folder / "v.gguf")


def syntax_of(format: ToolFormat, answer: str) -> Syntax:
    place = format.find(answer, 0, at_start=True)
    assert place is not None and place.at == 0
    return place.syntax


@pytest.mark.parametrize("name", ANSWERS)
def test_what_models_write_is_allowed(name: str, tmp_path: Path) -> None:
    format, answer = ANSWERS[name]
    if "Nemo" in name and "Mistral" in name:  # which writes an id in each
        answer = answer.replace("null]}}", 'null]}, "id": "abcdef124"}').replace(
            '"clock"}', '"clock", "arguments": {}, "id": "abcdef125"}'
        )
    words, syntax = vocabulary(format, tmp_path), syntax_of(format, answer)
    grammars = CallGrammars(TOOLS, words)
    trigger = syntax.trigger
    whole, rest = grammars.whole(syntax, None).matcher(words), grammars.matcher(syntax)
    for matcher, text in ((whole, answer), (rest, answer[len(trigger) :])):
        assert matcher is not None
        for token in words.encode(text, special=True):
            if matcher.may_end:  # behind the first call, where each is marked
                break
            matcher.consume(token)
        assert matcher.may_end
    only = grammars.whole(syntax, "clock").matcher(words)
    assert "weather" not in forced(only, words)


def forced(matcher: Any, words: Tokenizer) -> str:
    tokens = []
    while not matcher.is_complete and matcher.forced():
        tokens.append(matcher.forced()[0])
        matcher.consume(tokens[-1])
    return words.decode(tokens, special=True)


@pytest.mark.parametrize("name", ANSWERS)
def test_at_random_every_call_fits_its_schema(name: str, tmp_path: Path) -> None:
    format, answer = ANSWERS[name]
    words, syntax = vocabulary(format, tmp_path), syntax_of(format, answer)
    grammar, draw = CallGrammars(BOUNDED, words).whole(syntax, None), random.Random(7)
    for _ in range(6):
        matcher, tokens = grammar.matcher(words), list[int]()
        while not (matcher.may_end and draw.random() < 0.5) and len(tokens) < 2000:
            bits = np.unpackbits(matcher.mask().view(np.uint8), bitorder="little")[: words.n_vocab]
            allowed = [token for token in np.flatnonzero(bits).tolist() if token not in words.eog]
            tokens.append(draw.choice(allowed) if allowed else min(words.eog))
            if not allowed:
                break
            matcher.consume(tokens[-1])
        parser = ToolParser(format, BOUNDED)
        pieces = parser.feed(words.decode([t for t in tokens if t not in words.eog], special=True)) + parser.finish()
        assert pieces and all(isinstance(piece, ToolCall) for piece in pieces)
        for piece in pieces:
            assert isinstance(piece, ToolCall)
            jsonschema.validate(piece.arguments, dict(BOUNDED[piece.name].parameters))


@pytest.mark.parametrize("name", [next(iter(ANSWERS)), "GLM 4.5", "Gemma 4", "Hunyuan"])
def test_an_answer_of_calls_may_have_several_unless_one_tool_is_named(name: str, tmp_path: Path) -> None:
    format, answer = ANSWERS[name]
    words, syntax = vocabulary(format, tmp_path), syntax_of(format, answer)
    grammars, tokens = CallGrammars(TOOLS, words), words.encode(answer, special=True)
    matcher = grammars.whole(syntax, None).matcher(words)
    for token in tokens:
        matcher.consume(token)
    assert matcher.may_end
    only = grammars.whole(syntax, "weather").matcher(words)
    with pytest.raises(ConstraintError):
        for token in tokens:
            only.consume(token)


def test_calls_are_left_as_they_are_where_tools_are_not_strict() -> None:
    written = '<tool_call>\n{"name": "clock", "arguments": {"zone": 3}}\n</tool_call>'
    for strict, arguments in ((True, {}), (False, {"zone": 3})):
        reply = make(written, strict_tools=strict).send("?")
        assert [call.arguments for call in reply.tool_calls] == [arguments]


def test_a_call_that_has_begun_can_only_become_one() -> None:
    chat = make('Well.\n<tool_call>\n{"name": "cl0ck", "argum3nts": []}\n</tool_call>')
    events = list(chat.stream("?"))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Well."
    (call,) = [event for event in events if isinstance(event, ToolCall)]
    assert (call.name, call.arguments) == ("clock", {})


def test_without_llguidance_calls_are_parsed_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    reply = make(f"{CALL} b <tool_call> c").send("?")
    assert (reply.text, reply.tool_calls) == ("b <tool_call> c", (OSLO,))


def test_an_answer_may_have_to_be_a_call() -> None:
    chat = make("It is 12:30, I think.", "Fine.")
    chat.tool_choice = "clock"
    reply = chat.send("What time is it?")
    assert reply.tool_calls == (ToolCall("call00000", "clock", {}),) and reply.text == ""
    chat.tool_choice = "none"
    assert isinstance(chat.session.n_past, int)
    chat.session.script = [*chat.tokenizer.encode(CALL), *chat.tokenizer.eog]  # type: ignore[union-attr]
    assert chat.send_tool_results(["12:30"]).text == CALL
    with pytest.raises(ValueError, match="tool_choice is 'sometimes', but must be 'auto' or 'none' or 'required'"):
        chat.tool_choice = "sometimes"
    with pytest.raises(ValueError, match='tool_choice is "required", but this model calls by headers'):
        make(name="gpt-oss", end="<|call|>").tool_choice = "required"


def test_a_schema_that_cannot_be_kept_to_the_letter_still_gives_its_kind() -> None:
    words = make().tokenizer
    odd = {
        "properties": {"a": {"type": "integer", "not": {"const": 1}}, "b": {"type": "integer", "maximum": 9}},
        "required": ["a"],
    }
    tools = tools_by_name([{"name": "f", "parameters": odd}])
    (format, answer) = ANSWERS["Llama 3"]
    matcher = CallGrammars(tools, words).whole(syntax_of(format, answer), None).matcher(words)
    *begin, last = words.encode('{"name": "f", "parameters": {"a": 1, "b": 55')
    for token in begin:
        matcher.consume(token)
    with pytest.raises(ConstraintError):
        matcher.consume(last)
