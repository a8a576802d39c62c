"""Conversations with tools: calls as events, results given back, histories that begin with them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeSession
from tool_calling_chat import CALL, OSLO, clock, make

from subbyte.runtime.chat.chat import Chat
from subbyte.runtime.chat.messages import Message, begin_with, checked_messages
from subbyte.runtime.generation.events import Done, Event, TextDelta, ThinkingDelta
from subbyte.runtime.tools.call import ToolCall


def prompt(chat: Chat) -> str:
    """What has been computed, as text."""
    assert isinstance(chat.session, FakeSession)
    return chat.tokenizer.decode(chat.session.tokens, special=True)


def kinds(events: Iterable[Event]) -> list[object]:
    return [event if isinstance(event, ToolCall) else type(event) for event in events]


def test_call_function_result_answer() -> None:
    chat = make(f"<think>hm</think>Let me see.\n{CALL}", "It is 12 degrees.")
    reply = chat.send("How warm is it in Oslo?")
    assert (reply.text, reply.tool_calls, reply.thinking) == ("Let me see.", (OSLO,), "hm")
    assert reply.stop_reason == "eog" and reply.to_dict()["tool_calls"][0]["arguments"] == {"city": "Oslo"}
    assert chat.messages[-1] == Message("assistant", "Let me see.", "hm", (OSLO,))
    reply = chat.send_tool_results([chat.tools[call.name](**call.arguments) for call in reply.tool_calls])
    assert reply.text == "It is 12 degrees." and not reply.tool_calls
    assert [message.role for message in chat.messages] == ["user", "assistant", "tool", "assistant"]
    shown = prompt(chat)
    assert '<tools>\n{"type": "function", "function": {"name": "weather"' in shown
    assert f"<think>\nhm\n</think>\n\nLet me see.\n{CALL}" in shown
    assert '<tool_response>\n{"city": "Oslo", "degrees": [12]}\n</tool_response>' in shown
    assert chat.undo() == "How warm is it in Oslo?" and chat.messages == []


def test_calls_are_events_in_their_place_and_text_holds_nothing_of_them() -> None:
    chat = make(f"a {CALL}\n{CALL} b </tool_call> c", stop=["city"])
    events = list(chat.stream("?"))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "ab </tool_call> c"
    second = ToolCall("call00001", "weather", {"city": "Oslo"})
    found = [event for event in events if isinstance(event, TextDelta | ToolCall)]
    assert found[:3] == [TextDelta("a"), OSLO, second]
    assert isinstance(events[-1], Done) and events[-1].reply.tool_calls == (OSLO, second)


def test_stop_strings_count_in_text_alone() -> None:
    reply = make(f"{CALL} the city of", stop=["city"]).send("?")
    assert (reply.text, reply.stop_reason, reply.tool_calls) == ("the ", "stop", (OSLO,))


def test_a_call_that_is_cut_is_text() -> None:
    chat = make(CALL, max_tokens=20)
    reply = chat.send("?")
    assert CALL.startswith(reply.text) and len(reply.text) > 10 and not reply.tool_calls
    assert reply.stop_reason == "length" and chat.messages[-1].content == reply.text


def test_the_calls_of_gpt_oss_are_messages_to_functions() -> None:
    first = (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.weather "
        '<|constrain|>json<|message|>{"city": "Oslo"}'
    )
    chat = make(first, "<|channel|>final<|message|>12 degrees", name="gpt-oss", end="<|call|>")
    events = list(chat.stream("?"))
    assert [e for e in kinds(events) if e in (ThinkingDelta, TextDelta, OSLO)] == [ThinkingDelta, ThinkingDelta, OSLO]
    assert chat.send_tool_results(["12"]).text == "12 degrees"
    shown = prompt(chat)
    assert "<|start|>assistant<|channel|>analysis<|message|>hm<|end|><|start|>assistant to=functions.weather" in shown
    assert '<|start|>functions.weather to=assistant<|channel|>commentary<|message|>"12"<|end|>' in shown


def test_results_come_before_anything_else() -> None:
    chat = make(CALL, "fine")
    chat.send("?")
    for act in (lambda: chat.send("and?"), chat.reply):
        with pytest.raises(ValueError, match="the last answer calls weather, whose result must come first"):
            act()
    with pytest.raises(ValueError, match="the last answer calls tools"):
        chat.continue_answer()
    for results, message in (
        ([], "0 items, but there are 1 calls"), (["a", "b"], "2 items"), ("12", "must be a list"),
        ([object()], "the result of weather must be a text"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            chat.send_tool_results(results)
    assert len(chat.messages) == 2
    assert chat.send_tool_results([None]).text == "fine" and chat.messages[2].content == "null"
    with pytest.raises(ValueError, match="no call"):
        chat.send_tool_results([])


def test_results_whose_answer_was_stopped_are_kept() -> None:
    chat = make(CALL, "", "now")
    chat.send("?")
    chat.stream_tool_results(["12"]).close()
    assert len(chat.messages) == 2 and chat.unanswered == "12"
    assert isinstance(chat.session, FakeSession)
    chat.session.script = chat.session.script[1:]
    assert chat.reply().text == "now" and [m.role for m in chat.messages] == ["user", "assistant", "tool", "assistant"]
    assert isinstance(chat.session, FakeSession)
    chat.session.script = [*chat.tokenizer.encode("again"), *chat.tokenizer.eog]
    assert chat.regenerate().run().text == "again" and len(chat.messages) == 4


HISTORY: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "How "}, {"type": "text", "text": "warm?"}]},
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "x", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
            {"id": "y", "type": "function", "function": {"name": "clock", "arguments": ""}},
        ],
    },
    {"role": "tool", "tool_call_id": "y", "content": "12:30"},
    {"role": "tool", "tool_call_id": "x", "content": "12"},
]


def test_a_conversation_begins_from_messages() -> None:
    chat = make("It is warm.", messages=HISTORY)
    assert chat.system == "Be brief." and chat.unanswered == "12"
    with pytest.raises(ValueError, match="no answer to continue"):
        chat.continue_answer()
    assert chat.reply().text == "It is warm."
    assert [m.role for m in chat.messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert chat.messages[2] == Message("tool", "12:30", tool_call_id="y", name="clock")
    assert "How warm?" in prompt(chat) and "Be brief." in prompt(chat)
    with pytest.raises(ValueError, match="nothing to answer"):
        chat.reply()
    question = make("yes", messages=[Message("user", "Well?")])
    assert question.messages == [] and question.unanswered == "Well?"
    assert question.stream_reply().run().text == "yes" and len(question.messages) == 2
    calls = make("fine", messages=HISTORY[:3])
    assert calls.send_tool_results(["a", "b"]).text == "fine"


def test_a_saved_conversation_keeps_roles_and_calls(tmp_path: Path) -> None:
    chat, path = make("It is warm.", messages=HISTORY), tmp_path / "chat.json"
    chat.reply()
    chat.save(path)
    other = make("yes")
    other.load(path)
    assert (other.messages, other.system) == (chat.messages, chat.system)
    assert other.send("Really?").text == "yes"
    data = json.loads(path.read_text("utf-8"))
    data["messages"].pop()
    path.write_text(json.dumps(data))
    other.load(path)
    assert [message.role for message in other.waiting] == ["tool", "tool"]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ("hi", "messages is 'hi', but must be a list"),
        ([1], r"messages\[0\]: a message is 1, but must be a dict"),
        ([{"content": "a"}], r"messages\[0\]: it has no role"),
        ([{"role": "bot", "content": "a"}], r"messages\[0\]: role is 'bot', but must be 'system'"),
        ([{"role": "user"}], r"messages\[0\]: content is None, but must be a text"),
        (
            [*HISTORY[:1], {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            r"messages\[1\]: content has a part 'image_url', but only parts .* are known",
        ),
        ([{"role": "user", "content": "a", "tool_calls": HISTORY[2]["tool_calls"]}], "tool_calls are the assistant's"),
        (HISTORY[3:], r"messages\[0\]: it is of role \"tool\", but there is no call"),
        (
            [*HISTORY[:4], {"role": "user", "content": "a"}],
            r"messages\[4\]: it comes before the result of the call 'x'",
        ),
        ([*HISTORY[:3], {**HISTORY[3], "tool_call_id": "z"}], r"messages\[3\]: it is of role"),
        (
            [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}]}],
            r"messages\[0\]: tool_calls\[0\]: its arguments are no JSON: '{'",
        ),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}], r"tool_calls\[0\]: id is None"),
        ([{"role": "assistant", "tool_calls": [{"id": "1", "function": {}}]}], r"tool_calls\[0\]: name is None"),
        ([{"role": "assistant", "content": "a", "tool_calls": 1}], "tool_calls is 1"),
    ],
)
def test_messages_are_checked(messages: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        checked_messages(messages)
    assert "\n" not in str(caught.value)


def test_system_text_is_given_once() -> None:
    with pytest.raises(ValueError, match=r'system is given, and messages\[0\] is of role "developer"'):
        begin_with("S", HISTORY)
    assert begin_with("S", HISTORY[1:])[0] == "S" and begin_with(None, ())[1] == []


def test_system_text_in_the_middle_is_rendered_there() -> None:
    later = [Message("user", "a"), Message("assistant", "b"), Message("developer", "In French."), Message("user", "c")]
    chat = make("oui", messages=later)
    chat.reply()
    assert "<|im_start|>system\nIn French.<|im_end|>\n<|im_start|>user\nc" in prompt(chat)


def test_other_tools_are_given_to_the_next_answers() -> None:
    chat = make(CALL, CALL)
    assert chat.send("?").tool_calls == (OSLO,)
    chat.send_tool_results(["warm"])
    chat = make(CALL, "None now.")
    chat.use_tools([])
    assert not chat.send("?").tool_calls and "<tools>" not in prompt(chat)
    chat.use_tools([clock])
    chat.send("?")
    assert (
        list(chat.tools) == ["clock"]
        and '"name": "clock"' in prompt(chat)
        and "weather" not in prompt(chat).partition("?")[0]
    )
    with pytest.raises(ValueError, match="two of the name clock"):
        chat.use_tools([clock, clock])


def test_a_model_without_a_format_of_calls_is_given_no_tools() -> None:
    chat = make("a", name="gemma-3")
    assert chat._calling.format is None
    with pytest.raises(ValueError, match="can't be given tools"):
        chat.use_tools([clock])
