"""OpenAI's responses, without a model: histories of items to messages, events to streams."""

from __future__ import annotations

from typing import Any, cast

import pytest
from wire_events import CALL, MIXED, done, request, told

from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.responses import ResponsesAnswer
from subbyte.runtime.api.responses_request import read_responses_request
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.generation.events import Event, TextDelta

LAMP = {"type": "function", "name": "lamp", "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}}}
CALLED = {"type": "function_call", "id": "fc_1", "call_id": "call00000", "name": "lamp", "arguments": '{"on": true}'}


def answer(**values: Any) -> ResponsesAnswer:
    return ResponsesAnswer(read_responses_request(request(input="Hi", **values)), cast(Any, None), "m")


def refused(**values: Any) -> ApiError:
    with pytest.raises(ApiError) as found:
        read_responses_request(request(**values))
    assert found.value.status == 400 and "\n" not in found.value.message
    return found.value


def test_items_of_one_role_that_follow_one_another_are_one_message() -> None:
    history = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look.", "x": []}]},
        CALLED,
        {"type": "function_call_output", "call_id": "call00000", "output": [{"type": "input_text", "text": "on"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "So."}], "encrypted_content": "xyz"},
        {"role": "assistant", "content": "It is on."},
        {"role": "user", "content": "Thanks"},
        {"role": "user", "content": "a lot"},
    ]
    chat = read_responses_request(request(input=history, instructions="Speak.", tools=[LAMP])).chat
    assert chat.messages == [
        Message("system", "Speak."), Message("developer", "Be brief."), Message("user", "Hi"),
        Message("assistant", "I look.", "Hm.", (CALL,)), Message("tool", "on", tool_call_id="call00000", name="lamp"),
        Message("assistant", "It is on.", "So."), Message("user", "Thanks\n\na lot"),
    ]  # fmt: skip


def test_what_a_request_says_of_the_answer() -> None:
    asked = read_responses_request(request(
        input="Hi", model="m", stream=True, max_output_tokens=9, temperature=0.5, reasoning={"effort": "low"},
        tools=[{"type": "web_search"}, LAMP, {"type": "custom", "name": "patch"}], parallel_tool_calls=False,
        tool_choice={"type": "function", "name": "lamp"}, store=True, include=["reasoning.encrypted_content"],
        text={"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}, "verbosity": "low"},
    ))  # fmt: skip
    chat = asked.chat
    assert (asked.model, asked.stream, chat.max_tokens, chat.effort, chat.one_call) == ("m", True, 9, "low", True)
    assert chat.sampling == {"temperature": 0.5} and [tool.name for tool in chat.tools] == ["lamp"]
    assert chat.tool_choice == "lamp" and chat.constraint is not None and chat.logprobs is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"previous_response_id": "r"}, "this server keeps no responses; leave it out, and send the whole history"),
        ({"background": True}, "wait for the response, or stream it"),
        ({"input": []}, "input is .*, but must be a text, or a list of 1 to 4096 items"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, r"input\[0\].type is 'item_reference', but must be"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "this server reads text alone"),
        ({"tool_choice": "required", "tools": [{"type": "web_search"}]}, "there are no functions in tools"),
        ({"max_output_tokens": "many"}, "max_output_tokens is 'many'"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type is 'xml'"),
    ],
)
def test_what_is_refused(values: dict[str, Any], message: str) -> None:
    import re

    assert re.search(message, refused(**{"input": "Hi", **values}).message)


@pytest.mark.parametrize("field", ["previous_response_id", "input"])
def test_errors_name_their_field(field: str) -> None:
    assert refused(**{"input": "Hi", field: {"x": 1}}).param == field


def test_a_stream_is_the_whole_response() -> None:
    response = answer()
    sent = told(response, MIXED)
    data: list[Any] = [each.data for each in sent]
    assert [each["sequence_number"] for each in data] == list(range(len(data)))
    assert [name.removeprefix("response.") for _, name in sent if name and name.count(".") == 1] == [
        "created", "in_progress", "completed",
    ]  # fmt: skip
    assert data[-1]["response"] == {**response.whole(), "completed_at": data[-1]["response"]["completed_at"]}
    items = [each["item"] for each in data if each["type"] == "response.output_item.done"]
    assert [item["type"] for item in items] == ["reasoning", "message", "function_call", "message"]
    assert items == response.whole()["output"] and items[0]["content"][0]["text"] == "Let me see."
    assert items[2]["arguments"] == '{"on": true}' and items[2]["call_id"] == "call00000"
    part = {"type": "output_text", "text": "It is", "annotations": [], "logprobs": []}
    assert items[1]["content"] == [part] and {item["status"] for item in items} == {"completed"}
    assert response.whole()["usage"] == {
        "input_tokens": 10, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0}, "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 30,
    }  # fmt: skip


def test_reasoning_is_its_own_summary_where_one_is_asked_for() -> None:
    response = answer(reasoning={"summary": "auto"})
    names = [each.name for each in told(response, MIXED)]
    reasoning = response.whole()["output"][0]
    assert reasoning["summary"] == [{"type": "summary_text", "text": "Let me see."}] and reasoning["content"] == []
    assert names[2:8] == [
        "response.output_item.added", "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta", "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done", "response.reasoning_summary_part.done",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("events", "status"),
    [([TextDelta("It"), done("length")], "incomplete"), ([TextDelta("It"), done("stop")], "completed")],
)
def test_what_an_end_is_called(events: list[Event], status: str) -> None:
    response = answer()
    assert told(response, events)[-1].name == f"response.{status}"
    whole = response.whole()
    assert whole["status"] == whole["output"][0]["status"] == status
    assert whole["incomplete_details"] == ({"reason": "max_output_tokens"} if status == "incomplete" else None)


def test_a_failure_ends_the_stream() -> None:
    (sent,) = answer().failed(ApiError(503, "no memory", code="out_of_resources"))
    assert sent.name == "response.failed" and isinstance(sent.data, dict)
    assert sent.data["response"]["error"] == {"code": "out_of_resources", "message": "no memory"}
