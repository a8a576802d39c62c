"""Anthropic's messages, without a model: messages of blocks to messages of text, events to streams."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from wire_events import CALL, MIXED, done, request, told

from subbyte.runtime.api.anthropic_messages import AnthropicMessage
from subbyte.runtime.api.anthropic_request import read_messages_request, read_prompt_request
from subbyte.runtime.api.chat_request import ChatRequest
from subbyte.runtime.api.errors import ApiError, api_error
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.generation.events import Done, TextDelta

HI = [{"role": "user", "content": "Hi"}]
LAMP = {"name": "lamp", "input_schema": {"type": "object", "properties": {"on": {"type": "boolean"}}}}


def read(**values: Any) -> ChatRequest:
    return read_messages_request(request(**{"messages": HI, "max_tokens": 9, **values}))


def answer(**values: Any) -> AnthropicMessage:
    return AnthropicMessage(read(**values), cast(Any, None), "m")


def test_blocks_become_messages_of_text() -> None:
    history = [
        {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "x"}, {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "call00000", "name": "lamp", "input": {"on": True}},
        ]},
        {"role": "user", "content": [
            {"type": "text", "text": "Well?"},
            {"type": "tool_result", "tool_use_id": "call00000", "content": [{"type": "text", "text": "on"}]},
        ]},
    ]  # fmt: skip
    system = [{"type": "text", "text": "x-anthropic-billing-header: cc=1"}, {"type": "text", "text": "Be brief."}]
    assert read(messages=history, system=system).messages == [
        Message("system", "Be brief."), Message("user", "Hi"), Message("assistant", "I look.", "Hm.", (CALL,)),
        Message("tool", "on", tool_call_id="call00000", name="lamp"), Message("user", "Well?"),
    ]  # fmt: skip


def test_turns_of_one_role_are_one_and_later_system_texts_are_the_users() -> None:
    history = [
        {"role": "system", "content": "And kind."}, *HI, {"role": "system", "content": "Tools: none."},
        {"role": "assistant", "content": "I"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]},
        {"role": "user", "content": "Go"}, {"role": "user", "content": "on"},
    ]  # fmt: skip
    assert read(messages=history, system="Be brief.").messages == [
        Message("system", "Be brief.\n\nAnd kind."), Message("user", "Hi\n\nTools: none."),
        Message("assistant", "I", "Hm."), Message("user", "Go\n\non"),
    ]  # fmt: skip


def test_what_a_request_says_of_the_answer() -> None:
    asked = read(
        tools=[LAMP, {"type": "web_search_20250305", "name": "web_search"}], stop_sequences=["."], top_k=3,
        tool_choice={"type": "any", "disable_parallel_tool_use": True}, metadata={"user_id": "x"}, service_tier="auto",
        thinking={"type": "enabled", "budget_tokens": 5}, stream=True,
    )  # fmt: skip
    assert [tool.name for tool in asked.tools] == ["lamp"] and (asked.tool_choice, asked.one_call) == ("required", True)
    assert (asked.stop, asked.sampling, asked.max_tokens, asked.stream) == ((".",), {"top_k": 3}, 9, True)
    assert (asked.thinking, asked.reasoning_budget) == (True, 5)
    assert read().thinking is False and read(thinking={"type": "adaptive"}).thinking is True
    assert read(tools=[LAMP], tool_choice={"type": "tool", "name": "lamp"}).tool_choice == "lamp"
    assert read(output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}}).constraint is not None
    assert read_prompt_request(request(messages=HI)).max_tokens is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_tokens": None}, "max_tokens is missing; it must be a number of tokens"),
        ({"messages": []}, "messages is .*, but must be a list of 1 to 4096 messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "this server reads text alone"),
        ({"messages": [{"role": "tool", "content": "x"}]}, r"messages\[0\].role is 'tool'"),
        ({"messages": [{"content": "x"}]}, r"messages\[0\].role is missing"),
        ({"tools": [{"name": "x"}]}, r"tools\[0\].input_schema is missing"),
        ({"tool_choice": {"type": "any"}}, "there are no tools with a schema"),
        ({"thinking": {"budget_tokens": 5}}, "thinking.type is missing"),
    ],
)
def test_what_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as found:
        read(**values)
    assert found.value.status == 400 and re.search(message, found.value.message) and "\n" not in found.value.message


def test_a_result_without_its_call_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no call before it"):
        read(messages=[{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "on"}]}])


def test_a_stream_is_the_whole_message() -> None:
    message = answer()
    sent = told(message, MIXED)
    data: list[Any] = [each.data for each in sent]
    whole = message.whole()
    assert [block["type"] for block in whole["content"]] == ["thinking", "text", "tool_use", "text"]
    assert (sent[0].name, sent[-2].name, sent[-1].name) == ("message_start", "message_delta", "message_stop")
    assert (
        data[0]["message"]["stop_reason"] is None
        and data[-2]["delta"]["stop_reason"] == whole["stop_reason"] == "tool_use"
    )
    assert data[-2]["usage"] == whole["usage"] == {
        "input_tokens": 6, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0, "output_tokens": 20,
    }  # fmt: skip
    for i, block in enumerate(whole["content"]):
        own = [each for each in data if each.get("index") == i]
        assert own[0]["type"] == "content_block_start" and own[-1]["type"] == "content_block_stop"
        if block["type"] != "tool_use":
            field = block["type"]
            assert "".join(each["delta"].get(field, "") for each in own[1:-1]) == block[field]
    (call,) = [each["delta"] for each in data if each.get("index") == 2 and "delta" in each]
    assert call == {"type": "input_json_delta", "partial_json": '{"on": true}'}
    assert [each.name for each in message.alive()] == ["ping"]


@pytest.mark.parametrize(
    ("end", "reason", "sequence"),
    [
        (done(), "end_turn", None),
        (done("length"), "max_tokens", None),
        (done("timeout"), "max_tokens", None),
        (done("stop", "."), "stop_sequence", "."),
        (done("stop", "<|im_end|>"), "end_turn", None),
        (done(calls=[CALL]), "tool_use", None),
    ],
)
def test_what_an_end_is_called(end: Done, reason: str, sequence: str | None) -> None:
    message = answer(stop_sequences=["."])
    told(message, [TextDelta("It"), end])
    assert (message.whole()["stop_reason"], message.whole()["stop_sequence"]) == (reason, sequence)


def test_errors_in_anthropics_form() -> None:
    (sent,) = answer().failed(api_error(ApiError(503, "later", code="out_of_resources")))
    assert sent == ({"type": "error", "error": {"type": "overloaded_error", "message": "later"}}, "error")
    long = ApiError(400, "it has 9 tokens", code="context_length_exceeded")
    assert long.to_anthropic()["error"]["message"] == "prompt is too long: it has 9 tokens"
    assert long.to_openai()["error"]["message"].startswith("this model's maximum context length is exceeded: it has")
