"""Anthropic's own package."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from client_table import ANTHROPIC, shows
from live_server import LiveServer

anthropic = pytest.importorskip("anthropic")
pytestmark = pytest.mark.filterwarnings("ignore")  # they are not ours

HI: Any = [{"role": "user", "content": "Hi"}]
SHORT: Any = {"model": "tiny", "messages": HI, "max_tokens": 8, "extra_body": {"temperature": 0}}
LAMP: Any = {
    "name": "lamp", "description": "Switches a lamp.",
    "input_schema": {
        "type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"], "additionalProperties": False,
    },
}  # fmt: skip
CALLING: Any = {
    **SHORT, "max_tokens": 200, "tools": [LAMP, {"type": "web_search_20250305", "name": "web_search"}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
}  # fmt: skip
THINKING: Any = {
    **SHORT, "model": "thinker", "max_tokens": 20, "thinking": {"type": "enabled", "budget_tokens": 4},
}  # fmt: skip


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=server.url, api_key=server.key, max_retries=0) as client:
        yield client


@shows(ANTHROPIC, "answers", "streams")
def test_a_message_whole_and_in_pieces(client: Any) -> None:
    system: Any = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=1"},
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
    ]
    whole = client.messages.create(**SHORT, system=system)
    assert (whole.stop_reason, whole.usage.output_tokens, whole.role) == ("max_tokens", 8, "assistant")
    (block,) = whole.content
    with client.messages.stream(**SHORT, system="Be brief.") as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == block.text == final.content[0].text and len(pieces) > 3
    read, cached = final.usage.input_tokens, final.usage.cache_read_input_tokens
    assert cached > 0 and read + cached == whole.usage.input_tokens + whole.usage.cache_read_input_tokens
    assert final.stop_reason == "max_tokens" and final.usage.output_tokens == 8


@shows(ANTHROPIC, "answers")
def test_stop_sequences_and_beginnings_of_answers(client: Any) -> None:
    text = client.messages.create(**SHORT).content[0].text
    stopped = client.messages.create(**SHORT, stop_sequences=[text[2:4]])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", text[2:4])
    assert stopped.content[0].text == text[:2]
    begun = [*HI, {"role": "assistant", "content": "the"}]
    longer = client.messages.count_tokens(model="tiny", messages=begun).input_tokens
    assert longer == client.messages.count_tokens(model="tiny", messages=HI).input_tokens + 1
    assert client.messages.create(**{**SHORT, "messages": begun}).usage.output_tokens == 8


@shows(ANTHROPIC, "async", "several at once")
def test_many_at_once_without_threads(server: LiveServer, client: Any) -> None:
    async def run() -> list[Any]:
        async with anthropic.AsyncAnthropic(base_url=server.url, auth_token=server.key) as client:
            return [m.content[0].text for m in await asyncio.gather(*(client.messages.create(**SHORT) for _ in "1234"))]

    assert set(asyncio.run(run())) == {client.messages.create(**SHORT).content[0].text}


@shows(ANTHROPIC, "tool calls", "tool loop")
def test_a_tool_is_called_and_its_result_is_read(client: Any) -> None:
    first = client.messages.create(**CALLING)
    (call,) = first.content
    assert (first.stop_reason, call.type, call.name) == ("tool_use", "tool_use", "lamp") and call.input["on"] in (0, 1)
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "it is on"}]}
    after = {"role": "user", "content": [result, {"type": "text", "text": "And now?"}]}
    history = [*HI, {"role": "assistant", "content": first.content}, after]
    second = client.messages.create(**{**SHORT, "messages": history}, tools=[LAMP], tool_choice={"type": "none"})
    assert second.content[0].type == "text" and second.stop_reason == "max_tokens"
    named = client.messages.create(**{**CALLING, "tool_choice": {"type": "tool", "name": "lamp"}})
    assert named.content[0].name == "lamp"


@shows(ANTHROPIC, "tool calls, streamed")
def test_tool_calls_in_pieces(client: Any) -> None:
    with client.messages.stream(**CALLING) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert final.content[0].input["on"] in (0, 1) and final.stop_reason == "tool_use" and "input_json" in kinds


@shows(ANTHROPIC, "JSON by a schema")
def test_a_message_by_a_schema(client: Any) -> None:
    format = {"type": "json_schema", "schema": LAMP["input_schema"]}
    answer = client.messages.create(**{**SHORT, "max_tokens": 100}, output_config={"format": format})
    assert json.loads(answer.content[0].text)["on"] in (True, False)


@shows(ANTHROPIC, "reasoning")
def test_reasoning_is_a_block_of_its_own(client: Any) -> None:
    whole = client.messages.create(**THINKING)
    reasoning, text = whole.content
    assert (reasoning.type, text.type) == ("thinking", "text") and reasoning.thinking and reasoning.signature
    with client.messages.stream(**THINKING) as stream:
        final = stream.get_final_message()
    assert final.content[0] == reasoning and final.content[1].text == text.text
    history = [*HI, {"role": "assistant", "content": whole.content}, *HI]
    assert client.messages.create(**{**THINKING, "messages": history}).content


@shows(ANTHROPIC, "token counts")
def test_tokens_of_a_prompt(client: Any) -> None:
    asked = {"model": "tiny", "messages": HI, "tools": [LAMP], "system": "Be brief."}
    usage = client.messages.create(**asked, max_tokens=1).usage
    counted = client.messages.count_tokens(**asked).input_tokens
    assert counted == usage.input_tokens + usage.cache_read_input_tokens
    assert client.beta.messages.count_tokens(**asked).input_tokens == counted


@shows(ANTHROPIC, "models")
def test_models_by_name(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "thinker"]


@shows(ANTHROPIC, "errors")
def test_errors_are_the_packages_own(client: Any) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(**{**SHORT, "model": "claude"})
    assert missing.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        client.messages.create(**{**SHORT, "messages": [{"role": "user", "content": "Hi" * 2000}]})
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}
    with pytest.raises(anthropic.BadRequestError, match="this server reads text alone"):
        client.messages.create(**{**SHORT, "messages": [{"role": "user", "content": [image]}]})
    with pytest.raises(anthropic.AuthenticationError):
        client.with_options(api_key="another").messages.create(**SHORT)
